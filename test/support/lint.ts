import { createConfig, lintFromString } from '@redocly/openapi-core'
import { Ruleset, Spectral } from '@stoplight/spectral-core'
import owasp from '@stoplight/spectral-owasp-ruleset'
import type { Json } from './contract.ts'

/** What a linter finds wrong with an OpenAPI document: the rule and where. */
export interface Finding {
  readonly rule: string
  readonly message: string
  readonly at: string
}

/** Every breach of the rules that redocly recommends, warnings among them. */
export async function redocly(document: Json): Promise<Finding[]> {
  const config = await createConfig({ extends: ['recommended'] })
  const source = JSON.stringify(document)
  const problems = await lintFromString({ source, absoluteRef: 'openapi.json', config })
  return problems.map(({ ruleId, message, location }) => ({ rule: ruleId, message, at: location[0]?.pointer ?? '' }))
}

/** Every breach of spectral's OWASP rules, warnings among them. */
export async function spectral(document: Json): Promise<Finding[]> {
  const linter = new Spectral()
  linter.setRuleset(new Ruleset({ extends: [owasp as Json], rules: {} }))
  const results = await linter.run(document)
  return results.map(({ code, message, path }) => ({ rule: String(code), message, at: path.join(' ') }))
}

/** Where the document does not follow a rule of OWASP's, and why. */
export const owaspExceptions: readonly { rule: string; reason: string; covers(at: string): boolean }[] = [
  {
    rule: 'owasp:api4:2023-rate-limit',
    reason:
      'The limit is a setting of the node: what callers do with records tells of it, what the node says of itself never.',
    covers: () => true,
  },
  {
    rule: 'owasp:api8:2023-define-error-responses-401',
    reason: 'What the node says of itself takes no key, so that no request for it is answered 401.',
    covers: (at) =>
      /^paths (\/livez|\/readyz|\/metrics|\/openapi\.json|\/versions|\/changelog\.json|\/problems\/\{code\}) /.test(at),
  },
]

/** The exceptions that cover a finding. */
export function exceptionsFor(finding: Finding) {
  return owaspExceptions.filter((each) => each.rule === finding.rule && each.covers(finding.at))
}
