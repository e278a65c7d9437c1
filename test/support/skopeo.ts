import { run } from './commands.ts';

/** Runs `skopeo <args>` and gives its standard output, byte for byte. Throws if it fails. */
export async function skopeo(...args: readonly string[]): Promise<Buffer> {
  return (await run({ program: 'skopeo', args })).stdout;
}
