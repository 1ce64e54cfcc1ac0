import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type Browser, chromium, type Page } from 'playwright-core'
import { model } from '../../src/model/index.ts'
import type { Version } from '../../src/schema/versions.ts'
import type { Json } from '../support/contract.ts'
import { type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

const executablePath = Bun.which('chromium') ?? Bun.which('chromium-browser') ?? Bun.which('google-chrome')
const skipped = executablePath === null ? ' (SKIPPED: no chromium on this machine; install it to run this test)' : ''
const quiet = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
]

let server: TestServer
let document: Json
beforeAll(async () => {
  server = await testServer()
  document = (await server.call('GET', '/openapi.json')).body
})
afterAll(() => server.stop())

describe('the changelog', () => {
  test.skipIf(executablePath === null)(
    `shows each version, in the light and in the dark, and fits a phone${skipped}`,
    async () => {
      const browser = await chromium.launch({ executablePath: executablePath ?? '', args: quiet })
      try {
        for (const [width, colorScheme] of [
          [360, 'dark'],
          [1400, 'light'],
        ] as const) {
          const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme })
          const requests: string[] = []
          const complaints: string[] = []
          page.on('request', (request) => requests.push(request.url()))
          page.on('console', (message) => complaints.push(message.text()))
          await page.goto(`${server.url}/changelog`)
          const headings = await page.getByRole('heading', { level: 2 }).allInnerTexts()
          expect(headings.map((text) => text.split(/\s/)[0])).toEqual(model.versions.map(({ date }) => date).reverse())
          await page.getByText('The relation article of comments is now post.').waitFor()
          expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width)
          const background = String(await page.evaluate('getComputedStyle(document.body).backgroundColor'))
          const red = /\d+/.exec(background)?.[0]
          expect(Number(red) > 127).toBe(colorScheme === 'light')
          expect(requests.filter((url) => !url.startsWith('data:'))).toEqual([`${server.url}/changelog`])
          expect(complaints).toEqual([])
          await page.close()
        }
      } finally {
        await browser.close()
      }
    },
  )
})

describe('the documentation page', () => {
  test('and its script come from the server, and name no other place to load from', async () => {
    const page = await server.call('GET', '/docs', { key: null })
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    expect(page.text).not.toMatch(/(src|href|url)\W{1,4}(https?:)?\/\//)
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toStartWith("default-src 'none'; ")
    expect(policy).toMatch(/; script-src 'self' 'nonce-[\w+/]{22}==';/)
    expect(policy).not.toMatch(/https?:|\*/)
    const sources = [...page.text.matchAll(/<script src="([^"]+)"/g)].map((match) => match[1] ?? '')
    expect(sources).toEqual(['/docs/scalar.js'])
    const script = await server.call('GET', '/docs/scalar.js', { key: null })
    expect([script.status, script.headers.get('content-type')]).toEqual([200, 'text/javascript; charset=utf-8'])
    expect((await server.call('GET', '/', { key: null })).headers.get('location')).toBe('/docs')
  })

  test.skipIf(executablePath === null)(
    `shows every operation, tries one, switches to another version, and asks nothing of any other server${skipped}`,
    async () => {
      const watched = await open()
      const { page } = watched
      await showsEveryOperation(page)
      await triesTheList(page)
      await switchesTo(page, model.versions[0])
      expect(watched.errors).toEqual([])
      expect(watched.requests.length).toBeGreaterThanOrEqual(4)
      const here = (url: string) => url.startsWith(`${server.url}/`) || /^(data|blob):/.test(url)
      expect(watched.requests.filter((url) => !here(url))).toEqual([])
    },
    60_000,
  )

  let browser: Browser | undefined
  afterAll(() => browser?.close())

  /** The page in a real browser, with everything that it asks for and complains of. */
  async function open(): Promise<{ page: Page; requests: string[]; errors: string[] }> {
    browser = await chromium.launch({ executablePath: executablePath ?? '', args: quiet })
    const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } })
    const requests: string[] = []
    const errors: string[] = []
    page.on('request', (request) => requests.push(request.url()))
    page.on('websocket', (socket) => requests.push(socket.url()))
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(message.text())
    })
    page.on('pageerror', (error) => errors.push(error.message))
    await page.goto(`${server.url}/docs`)
    await page.getByRole('heading', { name: document.info.title }).first().waitFor()
    return { page, requests, errors }
  }

  async function showsEveryOperation(page: Page) {
    const sidebar = page.getByRole('complementary')
    const tags = (document.tags as { name: string }[]).map(({ name }) => name)
    // The first group is open from the start.
    for (const tag of tags.slice(1))
      await sidebar.getByRole('button', { name: `Open Group - ${tag}`, exact: true }).click()
    const links = Object.entries<Json>(document.paths).flatMap(([path, item]) =>
      Object.entries<Json>(item).map(
        ([
          method,
          {
            tags: [tag],
          },
        ]) => `#v3/tag/${tag.toLowerCase()}/${method.toUpperCase()}${path}`,
      ),
    )
    await sidebar.locator(`a[href="${links.at(-1)}"]`).waitFor()
    const shown = await sidebar.getByRole('link').evaluateAll((all) => all.map((link) => link.getAttribute('href')))
    expect(shown.filter((href) => /^#v3\/tag\/.*\/[A-Z]+\//.test(href ?? '')).sort()).toEqual(links.sort())
    expect(await page.getByText(/Ask AI|Generate MCP/).count()).toBe(0)
  }

  async function triesTheList(page: Page) {
    await server.call('POST', '/users', { body: { handle: 'shown', name: 'Shown in the page' } })
    await page
      .getByPlaceholder('Token')
      .first()
      .fill(await server.key())
    await page.getByText('List users', { exact: true }).first().click()
    await page
      .getByRole('button', { name: /Test Request/ })
      .first()
      .click()
    await page.getByRole('button', { name: /^Send/ }).first().click()
    await page.getByText('200 OK').first().waitFor()
    await page.getByText('"Shown in the page"').first().waitFor()
    await page.keyboard.press('Escape')
  }

  /** The first list of an older version is asked for as that version has it. */
  async function switchesTo(page: Page, version: Version | undefined) {
    await page.getByText(document.info.version, { exact: false }).filter({ hasText: '(v3)' }).first().click()
    await page.getByText(`${version?.date} (${version?.alias}), deprecated`).first().click()
    await page.getByRole('complementary').getByRole('button', { name: 'Open Group - articles', exact: true }).waitFor()
    await page
      .getByPlaceholder('Token')
      .first()
      .fill(await server.key())
    const asked = page.waitForRequest((request) => request.url().startsWith(`${server.url}/users`))
    await page.getByText('List users', { exact: true }).first().click()
    await page
      .getByRole('button', { name: /Test Request/ })
      .first()
      .click()
    await page.getByRole('button', { name: /^Send/ }).first().click()
    expect((await asked).headers()['api-version']).toBe(version?.date ?? '')
    await page.getByText('200 OK').first().waitFor()
    await page.getByText('"familyName"').first().waitFor()
  }
})
