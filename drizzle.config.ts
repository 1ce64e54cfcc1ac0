import { defineConfig } from 'drizzle-kit'

/** Read by `bun run generate`, which runs drizzle-kit and adds what it cannot make: STRICT tables and triggers. */
export default defineConfig({
  dialect: 'sqlite',
  schema: ['./src/model/*.ts', './src/store/tables.ts'],
  out: './drizzle',
})
