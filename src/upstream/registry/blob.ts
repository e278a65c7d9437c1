import type { Answer } from '../connect/answer.ts';
import { canDecode, contentCodings, decoded } from '../connect/content-coding.ts';
import { contentLength, contentRange } from '../connect/headers.ts';
import { isStall } from '../connect/network-failure.ts';
import type { Bandwidth } from '../limits/bandwidth.ts';
import { unavailable, type UpstreamFailure, BodyBrokenError, type BlobStream } from '../upstream.ts';

export interface BlobStreamOptions {
  /** What was asked for. */
  readonly offset: number;
  /** Of the whole blob, as a manifest tells it. */
  readonly expectedSize: number | undefined;
  readonly idleTimeoutMs: number;
  readonly onBytes: (count: number) => void;
  readonly bandwidth: Bandwidth | undefined;
}

/** Where a body begins, how long it is and how long the whole blob, as far as the headers tell. */
interface Extent {
  readonly offset: number;
  readonly length?: number;
  readonly totalSize?: number;
}

/**
 * True if the one who was to send the blob may take no HEAD: a redirect may be signed for GET alone (S3 then says 403),
 * and those who know no HEAD say that nothing is there (Nexus, of manifests).
 */
export function refusesHead(answer: Answer, registry: URL): boolean {
  const isElsewhere = answer.url.origin !== registry.origin;
  return [400, 404, 405, 501].includes(answer.status) || (answer.status === 403 && isElsewhere);
}

/** True if it was a part that was refused. A 416 that tells the size means what it says: there is no such part. */
export function refusesRange({ status, headers }: Answer): boolean {
  return status === 400 || status === 501 || (status === 416 && contentRange(headers)?.total === undefined);
}

/** The size of the content by the headers of a 200 answer. */
export function sizeOf({ headers }: Answer): { readonly size?: number } {
  const size = contentLength(headers);
  return size === undefined ? {} : { size };
}

/** The size of the blob by the answer to a request for its first byte, whose body is closed. */
export async function partialBlobSize(answer: Answer): Promise<{ readonly size?: number }> {
  await answer.body.discard();
  if (answer.status === 200) return sizeOf(answer);
  // An empty blob has no first byte, and 416 says how long it is.
  const total = contentRange(answer.headers)?.total;
  return total === undefined ? {} : { size: total };
}

/** The stream in a 200 or 206 answer. Throws UpstreamFailure, and closes the body, if it is not what was asked for. */
export function blobStream(answer: Answer, options: BlobStreamOptions): BlobStream {
  const extent = answer.status === 206 ? partExtent(answer, options.offset) : wholeExtent(answer);
  if (extent === undefined) throw refused(answer, 'answered with another range than was asked for');
  const closed = new AbortController();
  const close = (): void => {
    closed.abort();
    answer.body.close();
  };
  const codings = contentCodings(answer.headers);
  const bytes = bytesOf(answer, extent.length, { ...options, closed: closed.signal });
  // A blob that is itself compressed is sent with such a label by some stores; its size shows that nothing was done.
  const { offset, totalSize } = extent;
  if (codings.length === 0 || (totalSize !== undefined && totalSize === options.expectedSize)) {
    return {
      offset,
      ...(totalSize === undefined ? {} : { totalSize }),
      body: bytes,
      isDecoded: false,
      close,
    };
  }
  if (answer.status === 206 || !canDecode(codings)) {
    throw refused(answer, `sent the blob encoded (${codings.join(', ')}), though no encoding was accepted`);
  }
  return { offset: 0, body: decoded(bytes, codings), isDecoded: true, close };
}

function refused(answer: Answer, what: string): UpstreamFailure {
  answer.body.close();
  return unavailable('not-a-registry', `${answer.url.host} ${what}`);
}

function wholeExtent({ headers }: Answer): Extent {
  const length = contentLength(headers);
  return length === undefined ? { offset: 0 } : { offset: 0, length, totalSize: length };
}

function partExtent({ headers }: Answer, offset: number): Extent | undefined {
  const { range, total } = contentRange(headers) ?? {};
  if (range === undefined || range.start !== offset) return undefined;
  const length = range.end - range.start;
  if ((contentLength(headers) ?? length) !== length) return undefined;
  return { offset, length, ...(total === undefined ? {} : { totalSize: total }) };
}

async function* bytesOf(
  answer: Answer,
  length: number | undefined,
  options: BlobStreamOptions & { readonly closed: AbortSignal },
): AsyncGenerator<Buffer, void, undefined> {
  const { idleTimeoutMs, onBytes, bandwidth, closed } = options;
  const { host } = answer.url;
  let received = 0;
  try {
    for await (const chunk of answer.body) {
      received += chunk.length;
      onBytes(chunk.length);
      if (bandwidth !== undefined) await bandwidth.take(chunk.length, closed);
      yield chunk;
    }
  } catch (error) {
    if (isStall(error)) {
      throw new BodyBrokenError('stalled', `${host} sent nothing for ${idleTimeoutMs / 1000} s`, error);
    }
    throw new BodyBrokenError('cut', `${host} broke off after ${received} bytes`, error);
  }
  if (length !== undefined && received < length) {
    throw new BodyBrokenError('short', `${host} sent ${received} of ${length} bytes`);
  }
}
