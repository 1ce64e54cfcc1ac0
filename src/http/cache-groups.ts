import type { Model, Resource } from '../schema/model.ts'
import type { Command } from '../write/command.ts'

/*
 * The groups of answers (RFC 9875), by the names in the tables: `posts` has the answers that are made of whichever records
 * of a resource, its lists and what includes it; `posts/ID` those that are made of one record and no other.
 */

/** As `Cache-Groups` and `Cache-Group-Invalidation` have them. */
export function groupsHeader(groups: readonly string[]): string {
  return groups.map((group) => `"${group}"`).join(', ')
}

/** The name by which caches know what an answer of a tenant is made of. */
export function dependency(tenant: string, group: string): string {
  return `${tenant} ${group}`
}

/**
 * The groups of what a write has made untrue: of its records, and of the resources whose records move with them. A record
 * that is created is in no answer yet but in those that list its resource.
 */
export function changedGroups({ resources }: Model, commands: readonly Command[]): string[] {
  const groups = new Set<string>()
  for (const { kind, view, id } of commands) {
    const { name } = view.resource
    groups.add(name)
    if (kind !== 'create') groups.add(`${name}/${id}`)
    for (const moved of movedWith(view.resource, [...resources.values()])) groups.add(moved)
  }
  return [...groups]
}

const movedByResource = new WeakMap<Resource, readonly string[]>()

/** The resources that copy, count or sum fields of a resource, that end or are cut loose with its records, and so on. */
function movedWith(resource: Resource, all: readonly Resource[]): readonly string[] {
  const known = movedByResource.get(resource)
  if (known) return known
  const moved = new Set<string>()
  const open = [resource.name]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    for (const next of all) {
      const derives = [...next.derived.values()].some(({ source }) => source === name)
      const follows = next.references.some(({ to, onDelete }) => to === name && /cascade|set/.test(onDelete))
      if ((!derives && !follows) || moved.has(next.name)) continue
      moved.add(next.name)
      open.push(next.name)
    }
  }
  moved.delete(resource.name)
  movedByResource.set(resource, [...moved])
  return [...moved]
}
