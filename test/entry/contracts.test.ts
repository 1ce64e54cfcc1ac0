import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand } from '../support/command.ts'
import { copyProject, type Project } from '../support/project.ts'

setDefaultTimeout(60_000)

let project: Project
const contracts = (...args: string[]) => runCommand(['contracts', ...args], { root: project.root })
beforeAll(() => {
  project = copyProject()
})
afterAll(() => project.remove())

/** What the example's first version cannot be asked, which the model says. */
const remark =
  'posts at 2026-03-01: status is filtered by eq, ne, in and null only: its values have another order there.\n'

test('the example keeps the contracts that it published', async () => {
  const files = project.files('src/model/contracts')
  expect(await contracts('check')).toEqual({ code: 0, out: `${remark}3 published contract(s) hold.\n`, err: '' })
  expect((await contracts('publish')).out).toBe(
    ['2026-03-01', '2026-07-01', '2026-11-01'].map((date) => `${date} is published already.\n`).join(''),
  )
  expect(project.files('src/model/contracts')).toEqual(files)
})

test('a change that breaks them ends the check with code 1, named at every version that it breaks', async () => {
  project.edit('src/model/tags.ts', "sort: ['name', 'postCount']", "sort: ['name']")
  const mend = 'No lens mends this: keep it in "sort", its column as it was.'
  const err = [
    `tags.postCount at 2026-11-01 (published): lists cannot be sorted by it. ${mend}`,
    `tags.postCount at 2026-07-01 (published): lists cannot be sorted by it. ${mend}`,
    `tags.articleCount at 2026-03-01 (published): lists cannot be sorted by it. ${mend}`,
    'Mend the newest version first: what is right there is right in those before it, through their lenses.\n',
  ].join('\n')
  expect(await contracts('check')).toEqual({ code: 1, out: '', err })
  expect(await contracts('publish')).toEqual({ code: 1, out: '', err })
  project.edit('src/model/tags.ts', "sort: ['name']", "sort: ['name', 'postCount']")
})

test('a version that has no contract is no mistake, and publish gives it one', async () => {
  const files = Object.keys(project.files('src/model/contracts'))
  rmSync(join(project.root, 'src/model/contracts'), { recursive: true })
  const hint = 'is not published yet, and may still change: "bun run contracts publish" fixes it.'
  expect(await contracts('check')).toEqual({
    code: 0,
    out: `${remark}2026-03-01 ${hint}\n2026-07-01 ${hint}\n2026-11-01 ${hint}\nNo contract is published.\n`,
    err: '',
  })
  expect((await contracts('publish', '2026-07-01')).out).toBe(
    'Wrote src/model/contracts/2026-07-01.json and 2026-07-01.openapi.json. Commit them.\n',
  )
  expect((await contracts('publish')).code).toBe(0)
  expect(Object.keys(project.files('src/model/contracts'))).toEqual(files)
  expect((await contracts('check')).out).toBe(`${remark}3 published contract(s) hold.\n`)
})
