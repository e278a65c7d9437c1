import type { ImageContent } from '../fake/library.ts';
import type { TestApp } from './app.ts';
import { eventually } from './wait.ts';

/** Anything that takes lists and manifests of all kinds. */
const ACCEPT = [['Accept', '*/*']] as const;

/** Pulls what a client of every platform would: the tag, all manifests by digest, all blobs; resolves when it is stored. */
export async function pullWhole(
  app: TestApp,
  repository: string,
  { tags, image }: { readonly tags: readonly string[]; readonly image: ImageContent },
): Promise<void> {
  const path = `/v2/${repository}`;
  for (const tag of tags) await must(app, `${path}/manifests/${tag}`);
  for (const { digest } of image.manifests) await must(app, `${path}/manifests/${digest}`);
  for (const { digest } of image.blobs) await must(app, `${path}/blobs/${digest}`);
  for (const { digest } of image.blobs) await storedAt(app, `${path}/blobs/${digest}`);
}

/** Resolves when the blob is on the disk. */
export async function storedAt(app: TestApp, target: string): Promise<void> {
  await eventually(
    async () => (await app.head(target)).header('cache-status') === 'pierhead; hit',
    `${target} to be stored`,
  );
}

async function must(app: TestApp, target: string): Promise<void> {
  const answer = await app.get(target, { headers: ACCEPT });
  if (answer.status !== 200) throw new Error(`${target} gave ${answer.status}: ${answer.body.toString()}`);
}
