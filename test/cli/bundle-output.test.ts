import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeStream } from '../../src/cli/bundle-output.ts';
import { takeDataDir } from '../../src/store/data-dir.ts';
import { writeOutput } from '../../src/cli/print.ts';
import { testFolder } from '../support/temp.ts';

const { signal } = new AbortController();

async function* chunks(...texts: string[]): AsyncGenerator<Buffer, void> {
  for (const text of texts) yield Buffer.from(text);
}

async function* failing(): AsyncGenerator<Buffer, void> {
  yield Buffer.from('something');
  throw new Error('it broke off');
}

describe('a file that is written', () => {
  it('has its name once it is whole, and replaces what had it', async () => {
    const folder = await testFolder();
    const path = join(folder, 'out');
    await writeFile(path, 'old');
    const names = await writeStream(
      (async function* () {
        yield Buffer.from('new');
        expect((await readFile(path)).toString()).toBe('old');
      })(),
      { path, partBytes: undefined, signal },
    );
    expect(names).toEqual([path]);
    expect((await readFile(path)).toString()).toBe('new');
    expect(await readdir(folder)).toEqual(['out']);
  });

  it('comes in parts that make the whole one after the other', async () => {
    const folder = await testFolder();
    const path = join(folder, 'out');
    const names = await writeStream(chunks('abcd', 'efghijkl', '', 'mn'), { path, partBytes: 5, signal });
    expect(names).toEqual([1, 2, 3].map((number) => `${path}.00${number}`));
    const parts = await Promise.all(names.map((name) => readFile(name, 'utf8')));
    expect(parts).toEqual(['abcde', 'fghij', 'klmn']);
    expect(await readdir(folder)).toHaveLength(3);
  });

  it.each([
    ['what is to be written breaks off', undefined],
    ['it comes in parts and breaks off', 4],
  ])('leaves nothing behind if %s', async (_what, partBytes) => {
    const folder = await testFolder();
    await expect(writeStream(failing(), { path: join(folder, 'out'), partBytes, signal })).rejects.toThrow(
      'broke',
    );
    expect(await readdir(folder)).toEqual([]);
  });

  it('leaves nothing behind if it is interrupted', async () => {
    const folder = await testFolder();
    const ending = new AbortController();
    const bytes = (async function* () {
      yield Buffer.from('a');
      ending.abort(new Error('interrupted'));
      yield Buffer.from('b');
    })();
    const options = { path: join(folder, 'out'), partBytes: undefined, signal: ending.signal };
    await expect(writeStream(bytes, options)).rejects.toThrow('interrupted');
    expect(await readdir(folder)).toEqual([]);
  });

  it('leaves nothing behind if its name cannot be had', async () => {
    const folder = await testFolder();
    await mkdir(join(folder, 'out'));
    const options = { path: join(folder, 'out'), partBytes: undefined, signal };
    await expect(writeStream(chunks('a'), options)).rejects.toThrow();
    expect(await readdir(folder)).toEqual(['out']);
  });

  it.each([undefined, 5])(
    'names the file that was asked for when it cannot be written (parts of %s)',
    async (partBytes) => {
      const path = join(await testFolder(), 'none', 'out');
      const name = partBytes === undefined ? path : `${path}.001`;
      const message = `cannot write ${name}: no such file or directory (ENOENT)`;
      await expect(writeStream(chunks('a'), { path, partBytes, signal })).rejects.toMatchObject({ message });
      await expect(writeOutput(path, 'a')).rejects.toThrow(`cannot write ${path}: no such file`);
    },
  );

  it('names the data directory that cannot be used, and no temporary file in it', async () => {
    const failure: unknown = await takeDataDir('/proc').catch((error: unknown) => error);
    expect(String(failure)).toMatch(/^DataDirError: no permission to use the data directory \/proc; /);
    expect(String(failure)).not.toContain('.control.');
  });

  it('is not taken for one of more parts that were left by another', async () => {
    const folder = await testFolder();
    await writeFile(join(folder, 'out.003'), 'left');
    const options = { path: join(folder, 'out'), partBytes: 4, signal };
    await expect(writeStream(chunks('abcdefgh'), options)).rejects.toThrow(
      'out.003 is part of another bundle',
    );
    expect(await readdir(folder)).toEqual(['out.003']);
  });
});
