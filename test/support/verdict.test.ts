import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { attempt } from './commands.ts';
import { testFolder } from './temp.ts';

const VERDICT = new URL('../../.ci/verdict.mjs', import.meta.url).pathname;

interface TestFile {
  readonly status: 'passed' | 'failed';
  readonly tests: readonly ('passed' | 'failed' | 'skipped')[];
}

/** The exit code and the last line for a report in the form that vitest takes over from Jest. */
async function verdictOn(
  files: readonly TestFile[],
): Promise<{ status: number; lastLine: string | undefined }> {
  const path = join(await testFolder(), 'report.json');
  const testResults = files.map(({ status, tests }) => ({
    status,
    assertionResults: tests.map((test) => ({ status: test })),
  }));
  await writeFile(
    path,
    JSON.stringify({ success: files.every(({ status }) => status === 'passed'), testResults }),
  );
  const { status, stdout } = await attempt({ program: process.execPath, args: [VERDICT, path] });
  return { status, lastLine: stdout.toString().trimEnd().split('\n').at(-1) };
}

it.each([
  ['all tests have passed', [{ status: 'passed', tests: ['passed', 'passed'] }], 0, '2 passed, 0 failed'],
  ['a test has failed', [{ status: 'failed', tests: ['passed', 'failed'] }], 1, '1 passed, 1 failed'],
  ['a test was skipped', [{ status: 'passed', tests: ['passed', 'skipped'] }], 1, '1 passed, 0 failed'],
  ['a file could not be run', [{ status: 'failed', tests: [] }], 1, '0 passed, 1 failed'],
  ['no test has run', [], 1, '0 passed, 0 failed'],
] as const)('The verdict when %s', async (_name, files, status, lastLine) => {
  expect(await verdictOn(files)).toEqual({ status, lastLine });
});
