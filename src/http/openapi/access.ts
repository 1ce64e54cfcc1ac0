import type { Rule } from '../../schema/access.ts'
import type { ResourceView } from '../../version/view.ts'

/** Who may read and who may write the records of a resource, in words. */
export function accessText({ resource }: ResourceView): string {
  const read = `Read by ${words(resource.access.read)}.`
  return resource.isReadOnly
    ? `${read} A read model: it follows the records that it is made of, and is not written.`
    : `${read} Written by ${words(resource.access.write)}.`
}

/** Whether some record may be read without a key. */
export function isPublic(rule: Rule): boolean {
  switch (rule.kind) {
    case 'anyone':
    case 'when':
      return true
    case 'anyOf':
      return rule.rules.some(isPublic)
    case 'allOf':
      return rule.rules.every(isPublic)
    default:
      return false
  }
}

function words(rule: Rule): string {
  switch (rule.kind) {
    case 'anyone':
      return 'anyone'
    case 'service':
      return 'keys that act for the whole tenant'
    case 'scope':
      return `keys with the scope \`${rule.scope}\``
    case 'owner':
      return `the user in \`${rule.field}\``
    case 'when':
      return `anyone where \`${rule.field}\` is \`${rule.equals}\``
    case 'anyOf':
      return rule.rules.map(words).join(', or ')
    case 'allOf':
      return rule.rules.map((each) => (each.kind === 'anyOf' ? `(${words(each)})` : words(each))).join(' and ')
  }
}
