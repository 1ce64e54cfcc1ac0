import { expect } from 'bun:test'
import type { CallerSpec } from './oracle.ts'
import type { ListSpec } from './random-query.ts'
import type { World, WorldAnswer } from './random-world.ts'

type Walked = Pick<World, 'get' | 'oracle'>

/** How a caller is refused that may not read any record of a resource. */
export function refusedStatus(caller: CallerSpec): number {
  return caller.kind === 'anonymous' ? 401 : 403
}

/** Reads a list to its end and back again, and holds each page against the expected answer. */
export async function walk(world: Walked, list: ListSpec, caller: CallerSpec, path: string) {
  const first = await world.get(caller, path)
  if (!world.oracle.mayEverRead(list.resource, caller)) {
    expect(first.status).toBe(refusedStatus(caller))
    return
  }
  const expected = world.oracle.list(list.resource, list.filters, list.sort, list, caller)
  const pages = [first]
  for (let page = first; page.links.next !== undefined; pages.push(page))
    page = await world.get(caller, page.links.next)
  for (const [i, page] of pages.entries()) {
    const start = i * list.limit
    expectPage(path, page, list, expected, start, Math.min(start + list.limit, expected.length))
  }
  await walkBack(world, list, caller, path, expected, pages)
}

async function walkBack(
  world: Walked,
  list: ListSpec,
  caller: CallerSpec,
  path: string,
  expected: readonly unknown[],
  pages: readonly WorldAnswer[],
) {
  let end = (pages.length - 1) * list.limit
  let page = pages.at(-1)!
  expect([path, pages[0]?.links.prev]).toEqual([path, undefined])
  while (page.links.prev !== undefined) {
    const next = page
    page = await world.get(caller, page.links.prev)
    const start = Math.max(0, end - list.limit)
    expectPage(path, page, list, expected, start, end)
    const again = await world.get(caller, page.links.next ?? '')
    expect([path, again.body.data]).toEqual([path, next.body.data])
    end = start
  }
  expect([path, end]).toEqual([path, 0])
}

/** The page holds the records from `start` up to `end`, and says whether there are more. */
function expectPage(
  path: string,
  page: WorldAnswer,
  list: ListSpec,
  expected: readonly unknown[],
  start: number,
  end: number,
) {
  const isLast = end >= expected.length
  expect([path, page.status, page.body.data]).toEqual([path, 200, expected.slice(start, end)])
  expect([path, page.body.next === null, page.links.next === undefined]).toEqual([path, isLast, isLast])
  expect([path, page.body.count]).toEqual([path, list.count ? expected.length : undefined])
}
