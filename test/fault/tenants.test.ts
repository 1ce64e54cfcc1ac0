import { setDefaultTimeout } from 'bun:test'
import { testServer } from '../support/server.ts'
import { tenantsAreApart } from './tenancy.ts'

setDefaultTimeout(60_000)

tenantsAreApart({ name: 'a node', operations: 'all', start: () => testServer() })
