import { open, type FileHandle } from 'node:fs/promises';
import { onTestFinished, vi } from 'vitest';

/** What the methods of open files are found on. */
async function fileMethods(): Promise<FileHandle> {
  const handle = await open('/dev/null', 'r');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  return prototype;
}

/** Lets this fail for every open file, as no file system does on demand, until what this resolves to is called. */
export async function failAll(
  method: 'writev' | 'datasync' | 'sync',
  code: string,
): Promise<() => Promise<void>> {
  const error = Object.assign(new Error(`${code}: faked`), { code });
  const spy = vi.spyOn(await fileMethods(), method).mockRejectedValue(error);
  onTestFinished(() => spy.mockRestore());
  return async () => spy.mockRestore();
}

/** Lets one read of an open file fail after `after` others, as no file system does on demand. */
export async function failOneRead({ after }: { readonly after: number }): Promise<void> {
  const methods = await fileMethods();
  const { read } = methods as unknown as { readonly read: (...args: unknown[]) => unknown };
  let reads = 0;
  const spy = vi.spyOn(methods, 'read').mockImplementation(function (this: FileHandle, ...args: unknown[]) {
    reads++;
    if (reads <= after) return read.apply(this, args) as never;
    spy.mockRestore();
    return Promise.reject(Object.assign(new Error('EIO: faked'), { code: 'EIO' })) as never;
  });
  onTestFinished(() => spy.mockRestore());
}
