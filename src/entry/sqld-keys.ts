import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the bearer of a token may do at sqld: everything, or read and copy. */
export type SqldAccess = 'rw' | 'ro'

/** The key pair whose tokens a sqld takes. The private key stays in `folder`, for its owner's eyes only. */
export interface SqldKeys {
  /** The public key as PEM, for sqld's `--auth-jwt-key-file`. */
  readonly publicFile: string
  /** A signed token (JWT, EdDSA) that ends after `seconds`. */
  token(access: SqldAccess, seconds: number): string
}

/** Reads the Ed25519 key pair of a folder, or makes it where there is none. */
export function sqldKeys(folder: string): SqldKeys {
  const privateFile = join(folder, 'sqld-private.pem')
  const publicFile = join(folder, 'sqld-public.pem')
  if (!existsSync(privateFile)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const { privateKey } = generateKeyPairSync('ed25519')
    writeWhole(privateFile, privateKey.export({ format: 'pem', type: 'pkcs8' }), 0o600)
  }
  const key = createPrivateKey(readFileSync(privateFile))
  writeWhole(publicFile, createPublicKey(key).export({ format: 'pem', type: 'spki' }), 0o644)
  return { publicFile, token: (access, seconds) => signToken(key, access, seconds) }
}

/** A file is there with all of its text or not at all, also when the process is killed. */
export function writeWhole(file: string, text: string | Buffer, mode: number) {
  const unfinished = `${file}.${process.pid}.new`
  writeFileSync(unfinished, text, { mode, flush: true })
  renameSync(unfinished, file)
}

function signToken(key: KeyObject, access: SqldAccess, seconds: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const issued = Math.floor(Date.now() / 1000)
  const claims = { a: access, iat: issued, exp: issued + seconds }
  const body = `${part({ alg: 'EdDSA', typ: 'JWT' })}.${part(claims)}`
  return `${body}.${sign(null, Buffer.from(body), key).toString('base64url')}`
}
