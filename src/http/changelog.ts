import type { Model } from '../schema/model.ts'
import type { Version } from '../schema/versions.ts'
import { type Change, changesAt } from '../version/changelog.ts'
import { type LifeState, stateOf } from './life.ts'
import { escapeHtml, newNonce, pageResponse } from './page.ts'

/** What `/versions` tells of a version; its days begin at midnight UTC. */
export interface VersionInfo {
  readonly date: string
  readonly alias: string
  readonly notes: string
  readonly deprecated: string | null
  readonly sunset: string | null
  readonly state: LifeState
  /** Whether it is what requests get that name none, with a key that is pinned to none. */
  readonly default: boolean
}

/** The versions at a moment, in milliseconds since 1970, the newest first. */
export function listVersions({ versions, defaultVersion }: Model, now: number): VersionInfo[] {
  const infoOf = (version: Version): VersionInfo => {
    const { date, alias, notes, deprecated, sunset } = version
    const isDefault = version === defaultVersion
    return { ...{ date, alias, notes, deprecated, sunset }, state: stateOf(version, now), default: isDefault }
  }
  return versions.map(infoOf).reverse()
}

/** The versions with what changed at each. */
export function changelog(model: Model, now: number): (VersionInfo & { readonly changes: readonly Change[] })[] {
  return listVersions(model, now).map((info) => ({ ...info, changes: changesAt(model, info.date) }))
}

/** The same for people, as a page without scripts. */
export function changelogPage(model: Model, now: number): Response {
  const nonce = newNonce()
  const versions = changelog(model, now).map(
    ({ changes, ...info }) => `<section id="${info.alias}">
<h2>${info.date} <small>${info.alias}</small> ${marksOf(info)}</h2>
${lifeText(info)}<p>${proseOf(info.notes)}</p>
${listsOf(changes)}</section>`,
  )
  return pageResponse({
    title: `${model.title}: changelog`,
    head: `<style nonce="${nonce}">${style}</style>\n`,
    body: `<main>
<header>
<h1>${escapeHtml(model.title)}: changelog</h1>
<p>What changed at each version of the API. Ask for one with the header <code>API-Version</code>, or begin a path with its short name.</p>
<nav><a href="/docs">Reference</a> <a href="/versions">Versions</a> <a href="/changelog.json">As JSON</a></nav>
</header>
${versions.join('\n')}
</main>`,
    policy: [`style-src 'nonce-${nonce}'`, 'img-src data:'],
    caching: 'no-cache',
  })
}

function marksOf({ state, default: isDefault }: VersionInfo): string {
  const marks = [...(isDefault ? ['default'] : []), ...(state === 'active' ? [] : [state])]
  return marks.map((mark) => `<mark class="${mark}">${mark}</mark>`).join(' ')
}

function lifeText({ state, deprecated, sunset }: VersionInfo): string {
  if (deprecated === null) return ''
  const end = sunset === null ? '' : `, ${state === 'sunset' ? 'ended' : 'ends'} on ${timeOf(sunset)}`
  const since = state === 'active' ? 'Deprecated from' : 'Deprecated since'
  return `<p class="life">${since} ${timeOf(deprecated)}${end}.</p>\n`
}

function timeOf(date: string): string {
  return `<time datetime="${date}">${date}</time>`
}

/** The changes of each resource under its name. */
function listsOf(changes: readonly Change[]): string {
  const lists = [...Map.groupBy(changes, ({ resource }) => resource)].map(
    ([resource, of]) =>
      `<h3>${escapeHtml(resource)}</h3>\n<ul>\n${of.map(({ text }) => `<li>${proseOf(text)}</li>`).join('\n')}\n</ul>\n`,
  )
  return lists.join('')
}

/** A sentence as HTML, names between backticks as code. */
function proseOf(text: string): string {
  return escapeHtml(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>')
}

const style = `
:root { color-scheme: light dark; --line: light-dark(#d9dee7, #2d3441); --soft: light-dark(#5a6475, #9aa5b8);
  --panel: light-dark(#fff, #171b22); --code: light-dark(#eef1f6, #252b36); --link: light-dark(#2b6cb0, #7ab3ee);
  --warn: light-dark(#9c4a0b, #f3a45c); --warn-panel: light-dark(#fdeedd, #3a2712); }
* { box-sizing: border-box; }
body { margin: 0; background: light-dark(#f6f8fb, #0f1217); color: light-dark(#1b2330, #dfe5ee);
  font: 1rem/1.6 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; }
header p { margin: .5rem 0; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
a { color: var(--link); }
section { margin-top: 1.5rem; padding: 1.25rem 1.5rem; border: 1px solid var(--line); border-radius: .75rem;
  background: var(--panel); scroll-margin-top: 1rem; }
section:target { border-color: var(--link); }
h2 { margin: 0; display: flex; flex-wrap: wrap; align-items: baseline; gap: .1rem .6rem; font-size: 1.25rem; }
h2 small, .life { color: var(--soft); }
h2 small { font-size: 1rem; font-weight: 500; }
h3 { margin: 1.1rem 0 .2rem; font-size: 1rem; }
p { margin: .5rem 0; }
ul { margin: 0; padding-left: 1.2rem; }
li { margin: .25rem 0; }
code { padding: .1em .35em; border-radius: .3rem; background: var(--code); font: .9em ui-monospace, monospace; }
mark { align-self: center; padding: .05rem .55rem; border-radius: 1rem; background: var(--code); color: inherit;
  font-size: .8rem; font-weight: 500; }
mark.deprecated, mark.sunset { background: var(--warn-panel); color: var(--warn); }
@media (max-width: 30rem) { main { padding: 1.5rem .75rem 3rem; } section { padding: 1rem; } }
`
