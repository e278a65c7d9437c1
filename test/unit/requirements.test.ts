import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PACKAGES, requirementsOf } from '../support/requirements.mjs';

const TEST = new URL('..', import.meta.url);

describe('What a test file needs', () => {
  it('is what the parts need that it imports, directly or not', () => {
    expect(requirementsOf('test/e2e/docker-pull.test.ts')).toEqual([
      'docker',
      'docker-registry',
      'dockerd',
      'root',
    ]);
  });

  it('is nothing if it runs no program', () => {
    expect(requirementsOf('test/unit/requirements.test.ts')).toEqual([]);
  });

  it('is to be had from Debian', () => {
    const needs = filesOf('e2e', '.test.ts').flatMap(requirementsOf);
    const programs = new Set(needs.filter((need) => need !== 'root'));
    expect(Object.keys(PACKAGES)).toEqual(expect.arrayContaining([...programs]));
    expect(programs.size).toBeGreaterThan(0);
  });

  it('is stated of every part that runs such a program', () => {
    const runs = filesOf('support', '.ts').flatMap((file) =>
      [...readFileSync(new URL(file.replace('test/', ''), TEST), 'utf8').matchAll(/program: '([\w-]+)'/g)]
        .map(([, program = '']) => ({ file, program }))
        .filter(({ program }) => program in PACKAGES),
    );
    expect(runs.length).toBeGreaterThan(0);
    expect(runs.filter(({ file, program }) => !requirementsOf(file).includes(program))).toEqual([]);
  });
});

function filesOf(folder: string, ending: string): string[] {
  const names = readdirSync(new URL(folder, TEST));
  return names.filter((name) => name.endsWith(ending)).map((name) => `test/${folder}/${name}`);
}
