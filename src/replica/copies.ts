import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Epoch, Position, Seq } from '../log/position.ts'

/**
 * The copies of one node: a folder each, named by rising numbers, so that a new copy is never made where a reader still
 * has an old one open. A copy is complete once its folder holds a marker, which says where the
 * copy stood and when.
 */
export interface Copies {
  /** The newest complete copy; null where there is none. */
  newestComplete(): Complete | null
  /** A copy that has nothing yet, in a new folder. */
  begin(): string
  /** Says that the copy is complete, or later, where it stands by now. */
  markComplete(file: string, marker: Marker): void
  /** A copy that is not to be read again. */
  unmark(file: string): void
  /** Removes every copy but these. */
  removeAllBut(files: ReadonlySet<string>): void
  /** A text that is another whenever the copy's files have changed. */
  stampOf(file: string): string
}

export interface Marker {
  readonly position: Position
  /** When the copy is known to have held everything that the primary had: milliseconds since 1970. */
  readonly heldAt: number
}

export interface Complete extends Marker {
  readonly file: string
}

export function openCopies(folder: string): Copies {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const numbers = () =>
    readdirSync(folder)
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
  const folderOf = (number: number) => join(folder, String(number))
  const fileOf = (number: number) => join(folderOf(number), 'replica.db')
  const markerOf = (file: string) => join(dirname(file), 'complete')

  return {
    newestComplete() {
      for (const number of numbers().sort((a, b) => b - a)) {
        const file = fileOf(number)
        const marker = readMarker(markerOf(file))
        if (marker) return { ...marker, file }
      }
      return null
    },
    begin() {
      const number = Math.max(0, ...numbers()) + 1
      mkdirSync(folderOf(number), { mode: 0o700 })
      return fileOf(number)
    },
    markComplete(file, marker) {
      const path = markerOf(file)
      writeFileSync(`${path}.new`, markerText(marker), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    },
    unmark: (file) => rmSync(markerOf(file), { force: true }),
    removeAllBut(files) {
      for (const number of numbers()) {
        if (!files.has(fileOf(number))) rmSync(folderOf(number), { recursive: true, force: true })
      }
    },
    stampOf: (file) =>
      [file, `${file}-wal`]
        .map((path) => statSync(path, { throwIfNoEntry: false }))
        .map((stat) => (stat ? `${stat.size} ${stat.mtimeMs}` : ''))
        .join(),
  }
}

const markerText = ({ position: { epoch, seq }, heldAt }: Marker) => `${epoch} ${seq} ${heldAt}\n`

/** Null where there is none, and where a power cut has left a part of one. */
function readMarker(path: string): Marker | null {
  if (!existsSync(path)) return null
  const [, epoch, seq, heldAt] = /^([a-z0-9]{1,16}) (\d{1,15}) (\d{1,15})\n$/.exec(readFileSync(path, 'utf8')) ?? []
  return epoch ? { position: { epoch: epoch as Epoch, seq: Number(seq) as Seq }, heldAt: Number(heldAt) } : null
}
