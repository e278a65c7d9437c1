import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bundleInputs, readBundle } from '../../../src/cli/commands/import.ts';
import { testFolder } from '../../support/temp.ts';

describe('the bundles that a command names', () => {
  it('are single files, or the parts of one in order', () => {
    expect(bundleInputs(['a.tar', 'b.tar.001', 'b.tar.002', 'c.tar.001', '-'])).toEqual([
      { name: 'a.tar', paths: ['a.tar'] },
      { name: 'b.tar', paths: ['b.tar.001', 'b.tar.002'] },
      { name: 'c.tar', paths: ['c.tar.001'] },
      { name: 'standard input', paths: ['-'] },
    ]);
  });

  it.each([
    ['are in another order', ['b.001', 'b.003', 'b.002']],
    ['lack the first', ['b.002', 'b.003']],
    ['lack one', ['b.001', 'b.003']],
    ['are doubled', ['b.001', 'b.002', 'b.002']],
    ['are mixed', ['b.001', 'c.002']],
    ['are the standard input twice', ['-', '-']],
  ])('are refused if parts %s', (_what, paths) => {
    expect(() => bundleInputs(paths)).toThrow();
  });

  it('are read one part after the other, and not at all if one is not there', async () => {
    const folder = await testFolder();
    const paths = ['x.001', 'x.002'].map((name) => join(folder, name));
    const [first = '', second = ''] = paths;
    await writeFile(first, 'one');
    const [input] = bundleInputs(paths);
    const read = async (): Promise<string> => {
      let text = '';
      for await (const chunk of readBundle(input ?? { name: '', paths: [] })) text += chunk.toString();
      return text;
    };
    await expect(read()).rejects.toThrow(`cannot read ${second}: no such file or directory (ENOENT)`);
    await writeFile(second, 'two');
    expect(await read()).toBe('onetwo');
  });
});
