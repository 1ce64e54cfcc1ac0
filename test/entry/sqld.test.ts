import { expect, setDefaultTimeout, test } from 'bun:test'
import { killSqldOn } from '../../src/entry/sqld.ts'
import { databaseIn } from '../support/primary.ts'
import { until } from '../support/replicated.ts'
import { startSqld } from '../support/sqld.ts'

setDefaultTimeout(60_000)

const linux = process.platform === 'linux'

test.skipIf(!linux)(
  `a sqld that hears no other signal is found by its database${linux ? '' : ' (needs Linux)'}`,
  async () => {
    const [deaf, other] = [await startSqld(), await startSqld()]
    const isUp = ({ url }: typeof deaf) =>
      fetch(`${url}/health`).then(
        ({ ok }) => ok,
        () => false,
      )
    killSqldOn(databaseIn(deaf.folder))
    await until(
      async () => !(await isUp(deaf)),
      () => 'it is not killed',
    )
    expect(await isUp(other)).toBe(true)
    await Promise.all([deaf.remove(), other.remove()])
  },
)
