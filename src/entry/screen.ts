/** A terminal with lines that stay and, below them, some that are drawn again and again; or what is none. */
export class Screen {
  readonly isTerminal = process.stdout.isTTY === true
  private drawn: readonly string[] = []

  /** A line of the answer. */
  print(line: string) {
    this.above(() => console.log(line))
  }

  /** A line about it. */
  tell(line: string) {
    this.above(() => console.error(line))
  }

  /** Puts lines in the place of those that were drawn last. */
  draw(lines: readonly string[]) {
    this.above(() => {
      this.drawn = fitting(lines)
    })
  }

  private above(work: () => void) {
    if (this.drawn.length > 0) process.stdout.write(`\x1b[${this.drawn.length}F\x1b[J`)
    work()
    for (const line of this.drawn) console.log(line)
  }
}

/** What the terminal has room for, below the line of the cursor: where a line were broken, its parts would stay behind. */
function fitting(lines: readonly string[]): string[] {
  // A terminal that does not say its size says 0.
  const columns = process.stdout.columns || 80
  const rows = process.stdout.rows || 24
  return lines.slice(0, rows - 1).map((line) => line.slice(0, columns))
}
