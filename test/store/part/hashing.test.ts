import { mkdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { digestHex, digestOf } from '../../../src/oci/digest.ts';
import { FileHasher, HashError } from '../../../src/store/part/hashing.ts';
import { makePipe } from '../../support/pipe.ts';
import { testFolder } from '../../support/temp.ts';

const MIB = 1024 * 1024;
const bytes = Buffer.alloc(9 * MIB + 3, 'what is to be hashed ');
const never = new AbortController().signal;

async function fileWith(content: Buffer) {
  const path = join(await testFolder(), 'file');
  await writeFile(path, content);
  const hasher = new FileHasher();
  onTestFinished(() => hasher.close());
  return { hasher, path, options: { algorithm: 'sha256', size: content.length, signal: never } as const };
}

describe('a file hasher', () => {
  it.each([
    ['sha256', bytes],
    ['sha512', bytes],
    ['sha256', Buffer.alloc(0)],
  ] as const)('gives the %s of a whole file, and tells of every piece', async (algorithm, content) => {
    const { hasher, path, options } = await fileWith(content);
    let told = 0;
    const hex = await hasher.hash(path, {
      ...options,
      algorithm,
      onBytes: (count) => {
        told += count;
      },
    });
    expect(hex).toBe(digestHex(digestOf(content, algorithm)));
    expect(told).toBe(content.length);
  });

  it('waits for whoever it tells of a piece, while other files go on', async () => {
    const { hasher, path, options } = await fileWith(bytes);
    let proceed: () => void = () => undefined;
    const waited = new Promise<void>((resolve) => {
      proceed = resolve;
    });
    let isDone = false;
    const slow = hasher.hash(path, { ...options, onBytes: () => waited }).then((hex) => {
      isDone = true;
      return hex;
    });
    const hex = await hasher.hash(path, options);
    expect(isDone).toBe(false);
    proceed();
    expect(await slow).toBe(hex);
  });

  it('stops between pieces when it is told to', async () => {
    const { hasher, path, options } = await fileWith(bytes);
    const ending = new AbortController();
    const stopped = hasher.hash(path, {
      ...options,
      signal: ending.signal,
      onBytes: () => ending.abort(new Error('enough')),
    });
    await expect(stopped).rejects.toThrow('enough');
    expect(await hasher.hash(path, options)).toBe(digestHex(digestOf(bytes)));
  });

  it('says what is wrong with a file that it cannot hash, and goes on with others', async () => {
    const { hasher, path, options } = await fileWith(bytes);
    const folder = `${path}.folder`;
    await mkdir(folder);
    await expect(hasher.hash(folder, options)).rejects.toThrow(HashError);
    // What was found comes through from the thread.
    await expect(hasher.hash(folder, options)).rejects.toMatchObject({
      code: 'unreadable',
      cause: { code: 'not-a-file' },
    });
    const pipe = `${path}.pipe`;
    makePipe(pipe);
    await expect(hasher.hash(pipe, options)).rejects.toMatchObject({ code: 'unreadable' });
    const shortened = hasher.hash(path, { ...options, onBytes: () => truncate(path, 5 * MIB) });
    await expect(shortened).rejects.toMatchObject({ code: 'short' });
    await rm(path);
    await expect(hasher.hash(path, options)).rejects.toMatchObject({ code: 'missing' });
    await writeFile(path, bytes);
    expect(await hasher.hash(path, options)).toBe(digestHex(digestOf(bytes)));
  });

  it('can be used again after it was closed', async () => {
    const { hasher, path, options } = await fileWith(bytes);
    await hasher.hash(path, options);
    await hasher.close();
    expect(await hasher.hash(path, options)).toBe(digestHex(digestOf(bytes)));
  });
});
