import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PACKAGES, requirementsOf } from './requirements.mjs';

const CHECKOUT = new URL('../..', import.meta.url).pathname;
/** What every Debian has. */
const EVERYWHERE = ['chmod', 'ldd', 'mount', 'sh', 'tar', 'umount'];

describe('What a test file needs', () => {
  it('is what all that it imports needs, directly or not', () => {
    expect(requirementsOf('test/e2e/docker-pull.test.ts')).toEqual([
      'docker',
      'docker-registry',
      'dockerd',
      'root',
    ]);
  });

  it('is nothing if it runs no program', () => {
    expect(requirementsOf('test/oci/range.test.ts')).toEqual([]);
  });

  it('is stated wherever a program is run by its name', () => {
    const runs = testFiles().flatMap((file) =>
      [...readFileSync(join(CHECKOUT, file), 'utf8').matchAll(/(?:program: |spawn\()'([\w-]+)'/g)]
        .map(([, program = '']) => ({ file, program }))
        .filter(({ program }) => !EVERYWHERE.includes(program)),
    );
    expect(runs.map(({ program }) => program)).toContain('dockerd');
    expect(runs.filter(({ file, program }) => !requirementsOf(file).includes(program))).toEqual([]);
  });

  it('is to be had from Debian', () => {
    const programs = testFiles()
      .flatMap(requirementsOf)
      .filter((need) => need !== 'root');
    expect(programs).toContain('skopeo');
    expect(Object.keys(PACKAGES)).toEqual(expect.arrayContaining(programs));
  });
});

/** The TypeScript files of the tests, from the checkout's root; the bench runs programs that no test needs. */
function testFiles(): string[] {
  const names = readdirSync(join(CHECKOUT, 'test'), { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => name.endsWith('.ts') && !name.startsWith('bench/'))
    .map((name) => `test/${name}`);
}
