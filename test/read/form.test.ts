import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { Problem } from '../../src/problem.ts'
import { parseListQuery } from '../../src/read/query.ts'
import { buildViews, type ResourceView } from '../../src/version/view.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

const freshPosts = () => buildViews(model).get('v3')!.resources.get('posts')!

function told(view: ResourceView, search: string) {
  try {
    const { form, filters, cursor } = parseListQuery(view, search)
    const { sort, limit, count, fields, includes } = form
    const names = {
      fields: fields?.map((field) => field.name),
      includes: includes.map((each) => [each.name, each.limit]),
    }
    return {
      filters: filters.map((each) => ({ ...each, field: each.field.name })),
      cursor,
      sort,
      limit,
      count,
      ...names,
    }
  } catch (error) {
    if (error instanceof Problem) return error.body('')
    throw error
  }
}

describe('a query of a form that was read before', () => {
  const values = '?words[gt]=1&status=draft&limit=5&sort=-createdAt&after=here&include=author,comments(limit:2)'
  const queries: readonly [what: string, first: string, second: string][] = [
    ['has its own values and its own place', values, values.replace('=1', '=70').replace('draft', 'published')],
    ['has its own cursor', values, values.replace('here', 'there')],
    ['pages the other way', values, values.replace('after', 'before')],
    ['has its own limit, also by an encoded name', '?%6cimit=5', '?%6cimit=6'],
    ['has its own cursor, also by an encoded name', '?%61fter=here', '?%61fter=there'],
    ['keeps the order of its terms', '?words[gt]=1&words[lt]=9', '?words[lt]=9&words[gt]=1'],
    ['is not one whose text holds the other', '?sort=id&limit=5', '?sort=id%26limit%3D5'],
    ['is told everything that is wrong with it', values, values.replace('=1', '=many').replace('draft', 'lost')],
    ['is told of a cursor given twice', values, `${values}&after=there`],
    ['is read like one too long to be kept', `?slug=${'a'.repeat(900)}`, `?fields=${'id,'.repeat(500)}id&slug=a`],
  ]
  test.each(queries)('%s', (_, first, second) => {
    const view = freshPosts()
    told(view, first)
    expect(told(view, second)).toEqual(told(freshPosts(), second))
    expect(told(view, first)).toEqual(told(freshPosts(), first))
  })
})
