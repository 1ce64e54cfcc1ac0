import { join } from 'node:path'
import type { Model } from '../schema/model.ts'
import { checkContracts, publishContracts } from './contracts.ts'
import { CommandError, projectRoot } from './node.ts'

const folder = join(projectRoot, 'src', 'model', 'contracts')

function today(): string {
  return new Date().toISOString().slice(0, 10)
}

export function publish(model: Model, version: string | undefined) {
  for (const line of publishContracts(folder, model, today(), version)) console.log(line)
}

export function check(model: Model) {
  const { compared, broken, hints } = checkContracts(folder, model, today())
  if (broken.length > 0) throw new CommandError(broken.join('\n'))
  console.log(
    [
      ...model.remarks,
      ...hints,
      compared === 0 ? 'No contract is published.' : `${compared} published contract(s) hold.`,
    ].join('\n'),
  )
}
