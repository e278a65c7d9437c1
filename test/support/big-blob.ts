import { generatedContent, type Content } from '../fake/content.ts';
import type { FakeHub, FakeHubOptions } from '../fake/hub.ts';
import { image } from '../fixtures/images.ts';
import { opaqueLayer } from '../fixtures/tar.ts';
import type { TestApp } from './app.ts';
import { filledHub } from './filled-hub.ts';
import { eventually } from './wait.ts';

export const MIB = 1024 * 1024;

/** A blob of many MiB as a layer of `library/big:latest`. */
export interface BigBlob {
  readonly content: Content;
  readonly whole: Buffer;
  /** Of the blob, at a mirror. */
  readonly target: string;
}

export function bigBlob(options: { readonly size: number; readonly seed: number }): BigBlob {
  const content = generatedContent(options);
  return {
    content,
    whole: content.expectedBytes(0, content.size),
    target: `/v2/library/big/blobs/${content.digest}`,
  };
}

export async function hubWith(blob: BigBlob, options: FakeHubOptions = {}): Promise<FakeHub> {
  const hub = await filledHub(options);
  const layers = [opaqueLayer(blob.content)];
  hub.add({ repository: 'library/big', tags: ['latest'], image: image({ message: 'big', layers }) });
  return hub;
}

/**
 * Resolves when the blob is stored, and the fill that stored it has been reported: from then on nobody can join it. A
 * HEAD tells of a stored blob before that, since the index knows it while the fill still ends.
 */
export async function storedBlob(app: TestApp, { content, target }: BigBlob): Promise<void> {
  await eventually(
    () => app.log.find(({ result, digest }) => result === 'stored' && digest === content.digest),
    'the fill of the blob to be reported',
  );
  await eventually(
    async () => (await app.head(target)).header('cache-status') === 'pierhead; hit',
    'the blob to be stored',
  );
}

/** Bodies of the blob that the stand-in was asked for, by their `Range`; undefined for the whole. */
export function rangesAsked(hub: FakeHub, { content }: BigBlob): (string | undefined)[] {
  return hub.requests.flatMap(({ host, method, reference, headers }) =>
    host === 'blobs' && method === 'GET' && reference === content.digest ? [headers.range] : [],
  );
}

export const ranged = (range: string) => ({ headers: [['Range', range]] as const });
