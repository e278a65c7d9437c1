import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { configDefaults, defineConfig } from 'vitest/config';
import { builtSource } from './coverage/built-source.ts';
import { stuckTests } from './support/requirements.mjs';

// CI leaves nothing out: there, what is missing has failed the run before it came here.
const leftOut = process.env['CI'] === 'true' ? [] : stuckTests().map(({ file }) => file);
const END_TO_END = 'test/e2e/**/*.test.ts';
const AFTER_ALL = 'test/printed/**/*.test.ts';

// What the end-to-end tests print, and which secrets they use, is looked at when all of them have run.
const printed = mkdtempSync(join(tmpdir(), 'pierhead-printed-'));
process.once('exit', () => rmSync(printed, { recursive: true, force: true }));
const env = { PIERHEAD_TEST_PRINTED: printed };

const root = new URL('..', import.meta.url).pathname;
const coverage = process.env['NODE_V8_COVERAGE'] !== undefined;

export default defineConfig({
  plugins: coverage ? [builtSource(root)] : [],
  test: {
    root,
    // Loaded by Node itself, as it loads the program.
    server: { deps: { external: coverage ? [/\/dist\/.*\.js$/] : [] } },
    setupFiles: coverage ? ['test/coverage/take.ts'] : [],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Tests wait for others most of the time; by default two processors have one worker.
    maxWorkers: availableParallelism() + 1,
    projects: [
      {
        extends: true,
        test: {
          name: 'parts',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, END_TO_END, AFTER_ALL, ...leftOut],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: [END_TO_END],
          exclude: [...configDefaults.exclude, ...leftOut],
          testTimeout: 240_000,
          env,
          // Each file runs daemons of its own, which want the whole machine.
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: { name: 'printed', include: [AFTER_ALL], env, sequence: { groupOrder: 2 } },
      },
    ],
  },
});
