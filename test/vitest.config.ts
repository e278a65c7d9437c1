import { configDefaults, defineConfig } from 'vitest/config';
import { stuckTests } from './support/requirements.mjs';

// CI leaves nothing out: there, what is missing has failed the run before it came here.
const leftOut = process.env['CI'] === 'true' ? [] : stuckTests().map(({ file }) => file);
const END_TO_END = 'test/e2e/**/*.test.ts';

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'parts',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, END_TO_END, ...leftOut],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: [END_TO_END],
          exclude: [...configDefaults.exclude, ...leftOut],
          testTimeout: 120_000,
          // Each file runs daemons of its own, which want the whole machine.
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
