/** What is measured: each case says who does the same work and what Perigee may cost beside it. */
import { model } from '../src/model/index.ts'
import type { BenchData } from './data.ts'
import type { Figure, Script } from './rates.ts'
import type { Files, ServerName } from './server.ts'

/** A bound of the design on Perigee's figure; `of` names the other side where it is a ratio. */
export interface Target {
  readonly figure: Figure
  readonly of: ServerName | null
  readonly atMost?: number
  readonly atLeast?: number
}

export interface RateCase {
  readonly name: string
  readonly title: string
  readonly servers: readonly ServerName[]
  readonly targets: readonly Target[]
  readonly script: Script
  /** Paths whose JSON must be the same from each server before they are measured. */
  readonly same?: Partial<Record<ServerName, string>>
}

/** The newest posts, each with its author and its first comments: as Perigee is asked, and as the hand-written server. */
const newest = '/posts?sort=-createdAt&limit=20&include=author,comments(limit:3)'
const listPaths = { perigee: `${newest}&createdAt[lt]=LINE`, 'bun-sqlite': '/posts?limit=20&before=LINE' }

/**
 * The cases under full load. `run` is a name that no other run over the same files has. Where an answer is to be made
 * anew, more different ones are asked for in turn than are kept.
 */
export function rateCases(data: BenchData, files: Files, run: string): RateCase[] {
  return [...readCases(data), ...versionCases(data), ...createCases(data, files, run)]
}

function readCases(data: BenchData): RateCase[] {
  const { idsFile, hotIdsFile, instantsFile } = data
  const record = { perigee: `/posts/${data.firstId}`, 'bun-sqlite': `/posts/${data.firstId}` }
  const at = (path: string) => path.replace('LINE', data.instant)
  return [
    {
      name: 'record',
      title: 'GET one record, uncached',
      servers: ['perigee', 'bun-sqlite', 'hono-sqlite', 'hono-drizzle'],
      targets: [
        { figure: 'cpuMicros', of: 'bun-sqlite', atMost: 1.5 },
        { figure: 'cpuMicros', of: 'hono-drizzle', atMost: 1 },
      ],
      same: { ...record, 'hono-sqlite': record.perigee, 'hono-drizzle': record.perigee },
      script: () => ['get.lua', '/posts/LINE', idsFile],
    },
    {
      name: 'cached',
      title: 'GET one record, cached',
      servers: ['perigee', 'constant', 'bun-sqlite'],
      targets: [{ figure: 'cpuMicros', of: 'constant', atMost: 1.6 }],
      script: () => ['get.lua', '/posts/LINE', hotIdsFile],
    },
    {
      name: 'unchanged',
      title: 'GET unchanged, 304, cached',
      servers: ['perigee', 'constant', 'bun-sqlite'],
      targets: [{ figure: 'cpuMicros', of: 'constant', atMost: 1.6 }],
      script: () => ['get.lua', '/posts/LINE', hotIdsFile, `"${data.postVersion}-${model.defaultVersion.alias}"`],
    },
    {
      name: 'list',
      title: 'list of 20, author, 3 comments each, uncached',
      servers: ['perigee', 'bun-sqlite'],
      targets: [{ figure: 'cpuMicros', of: 'bun-sqlite', atMost: 1.3 }],
      same: { perigee: at(listPaths.perigee), 'bun-sqlite': at(listPaths['bun-sqlite']) },
      script: (_, server) => ['get.lua', listPaths[server === 'perigee' ? server : 'bun-sqlite'], instantsFile],
    },
    {
      name: 'list-cached',
      title: 'the newest 20, cached',
      servers: ['perigee', 'bun-sqlite'],
      targets: [],
      script: (_, server) => ['path.lua', server === 'perigee' ? newest : '/posts?limit=20'],
    },
  ]
}

/** Perigee's own oldest version beside its newest, in one process: lenses are a part of the one statement. */
function versionCases({ idsFile, instantsFile }: BenchData): RateCase[] {
  const posts = (server: ServerName) => (server === 'perigee' ? '/v1/articles' : '/v3/posts')
  const both = {
    servers: ['perigee', 'perigee-newest'],
    targets: [{ figure: 'cpuMicros', of: 'perigee-newest', atMost: 1.05 }],
  } as const
  const list = newest.replace('/posts', '')
  return [
    {
      ...both,
      name: 'old-record',
      title: 'GET one record at the oldest version, uncached',
      script: (_, server) => ['get.lua', `${posts(server)}/LINE`, idsFile],
    },
    {
      ...both,
      name: 'old-list',
      title: 'list of 20 at the oldest version, author, 3 comments each, uncached',
      script: (_, server) => ['get.lua', `${posts(server)}${list}&createdAt[lt]=LINE`, instantsFile],
    },
  ]
}

function createCases(data: BenchData, files: Files, run: string): RateCase[] {
  const create = (name: string, path: string, body: object): Script => {
    const text = JSON.stringify(body)
    return (round) => ['create.lua', path, files.apiKey, `${run}-${name}-${round}`, text]
  }
  return [
    {
      // Both insert a row with one unique index, its row of the log, and the claim with the answer it stands for.
      // Perigee also keeps the heads of the log.
      name: 'create-user',
      title: 'durable create, one index',
      servers: ['perigee', 'bun-sqlite'],
      targets: [
        { figure: 'perSecond', of: 'bun-sqlite', atLeast: 3.5 },
        { figure: 'cpuMicros', of: null, atMost: 110 },
      ],
      script: create('user', '/users', {
        handle: 'UNIQUE',
        name: 'Somebody New',
        homepage: 'https://example.com/people/somebody-new',
      }),
    },
    {
      // The same with five indexes, a reference, a copied name, and counts of the author, whose change both log.
      name: 'create-post',
      title: 'durable create, five indexes, counts',
      servers: ['perigee', 'bun-sqlite'],
      targets: [],
      script: create('post', '/posts', {
        authorId: data.authorId,
        slug: 'UNIQUE',
        title: 'A post that was just written',
        body: 'A few sentences, as one writes them into a first draft. '.repeat(6),
        words: 66,
      }),
    },
  ]
}
