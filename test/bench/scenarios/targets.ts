import type { Content } from '../content.ts';
import { fetchVerified } from '../load.ts';
import { usedTime, type UsedTime } from '../processor-time.ts';
import type { ServerProcess } from '../server-process.ts';
import type { Bench } from './scenario.ts';

export const GIB = 1024 ** 3;

/** Something of the content that is asked for. */
export type Target = (content: Content) => { readonly path: string; readonly digest: string };

export const tagTarget: Target = ({ tag, index }) => ({ path: `manifests/${tag}`, digest: index.digest });

export const digestTarget: Target = ({ images: [image] }) => {
  if (image === undefined) throw new Error('the content has no image');
  return { path: `manifests/${image.digest}`, digest: image.digest };
};

export const blobTarget =
  (size: 'smallBlob' | 'largeBlob'): Target =>
  (content) => ({ path: `blobs/${content[size].digest}`, digest: content[size].digest });

export function targetUrl(server: ServerProcess, bench: Bench, target: Target): string {
  return `${server.url}/v2/${bench.content.repository}/${target(bench.content).path}`;
}

export function fetchTarget(server: ServerProcess, bench: Bench, target: Target): Promise<void> {
  return fetchVerified(targetUrl(server, bench, target), target(bench.content).digest);
}

/** A layer is asked for after the manifests that name it, as any client does. */
export async function lookAtImage(server: ServerProcess, bench: Bench): Promise<void> {
  await fetchTarget(server, bench, tagTarget);
  await fetchTarget(server, bench, digestTarget);
}

export interface Timed<T> {
  readonly result: T;
  /** By the server meanwhile, for each of so many units of what it did. */
  readonly used: (units: number) => UsedTime;
}

export async function timed<T>(server: ServerProcess, work: () => Promise<T>): Promise<Timed<T>> {
  const before = await server.processorTime();
  const result = await work();
  const after = await server.processorTime();
  return { result, used: (units) => usedTime(before, after, units) };
}

/** Runs `load`; throws if upstream had to send a blob for it, or has since its bytes were last taken. */
export async function whileHot<T>(
  server: ServerProcess,
  bench: Bench,
  load: () => Promise<T>,
): Promise<Timed<T>> {
  const loaded = await timed(server, load);
  const upstreamBytes = await bench.upstream.takeBlobBytesSent();
  if (upstreamBytes > 0) throw new Error(`${server.url} was not hot: upstream sent ${upstreamBytes} bytes`);
  return loaded;
}
