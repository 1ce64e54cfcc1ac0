import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { endingWithTests } from './process.ts'
import { temporaryFolder } from './server.ts'

/** A small file system of its own in a mount namespace of its own, where that is permitted. */
export interface SmallDisk {
  /** A command before another runs that within the namespace, where `folder` is the file system. */
  readonly within: readonly string[]
  /** Makes the file system larger or smaller while it is in use. */
  resize(mebibytes: number): Promise<void>
  /** Copies a database file into the file system. */
  putIn(file: string): void
  /** Copies a database file at rest, with its log, out of the file system; answers where the copy is. */
  takeOut(file: string): string
  remove(): void
}

export async function smallDisk(folder: string, mebibytes: number): Promise<SmallDisk> {
  const script = 'mount -t tmpfs -o size="$1"m tmpfs "$2" && echo ready && exec sleep 600'
  const holder = Bun.spawn(
    [
      ...endingWithTests,
      'unshare',
      '-m',
      '--propagation',
      'private',
      'sh',
      '-c',
      script,
      'sh',
      String(mebibytes),
      folder,
    ],
    {
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    },
  )
  const first = await holder.stdout.getReader().read()
  if (first.done) throw new Error(`no file system: ${await new Response(holder.stderr).text()}`)
  const inside = (path: string) => `/proc/${holder.pid}/root${path}`
  const copies = temporaryFolder()
  let taken = 0
  const within = ['nsenter', '-t', String(holder.pid), '-m', `--wd=${process.cwd()}`]
  return {
    within,
    async resize(size) {
      const mount = Bun.spawn([...within, 'mount', '-o', `remount,size=${size}m`, folder], { stderr: 'pipe' })
      if ((await mount.exited) !== 0) throw new Error(await new Response(mount.stderr).text())
    },
    putIn: (file) => copyFileSync(file, inside(file)),
    takeOut(file) {
      // SQLite would follow the link in /proc/PID/root and open another file, so it is given a copy.
      const copy = join(copies.path, `${++taken}.db`)
      copyFileSync(inside(file), copy)
      if (existsSync(inside(`${file}-wal`))) copyFileSync(inside(`${file}-wal`), `${copy}-wal`)
      return copy
    },
    remove() {
      holder.kill()
      copies.remove()
    },
  }
}

/** Why there can be no small disk here, or null where there can. */
export async function whyNoSmallDisk(): Promise<string | null> {
  if (process.platform !== 'linux') return 'mount namespaces are of Linux'
  if (!Bun.which('unshare') || !Bun.which('nsenter')) return 'unshare and nsenter are not installed'
  const folder = temporaryFolder()
  try {
    const disk = await smallDisk(folder.path, 1)
    disk.remove()
    return null
  } catch (error) {
    return (error as Error).message.trim()
  } finally {
    folder.remove()
  }
}
