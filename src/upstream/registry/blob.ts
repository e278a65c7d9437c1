import type { Answer } from '../connect/answer.ts';
import { canDecode, contentCodings, decoded } from '../connect/content-coding.ts';
import { contentLength, contentRange } from '../connect/headers.ts';
import { isStall } from '../connect/network-failure.ts';
import type { Bandwidth } from '../limits/bandwidth.ts';
import {
  unavailable,
  type UpstreamFailure,
  BodyBrokenError,
  type BlobStream,
  type ContentSize,
} from '../upstream.ts';

export interface BlobStreamOptions {
  /** The first byte that was asked for. */
  readonly offset: number;
  /** Size of the whole blob by a manifest. */
  readonly expectedSize: number | undefined;
  readonly idleTimeoutMs: number;
  readonly onBytes: (count: number) => void;
  readonly bandwidth: Bandwidth | undefined;
}

/** Start and length of a body, and size of the whole blob, as far as the headers state them. */
interface Extent {
  readonly offset: number;
  readonly length: number | undefined;
  readonly totalSize: number | undefined;
}

/**
 * True if the sender of the blob may not support HEAD. A redirect may be signed for GET alone (S3 then answers 403),
 * and some registries answer 404 to any HEAD (Nexus, for manifests).
 */
export function refusesHead(answer: Answer, registry: URL): boolean {
  const isElsewhere = answer.url.origin !== registry.origin;
  return [400, 404, 405, 501].includes(answer.status) || (answer.status === 403 && isElsewhere);
}

/** True if the range itself was refused. A 416 with a size is a real answer: the blob has no such range. */
export function refusesRange({ status, headers }: Answer): boolean {
  return status === 400 || status === 501 || (status === 416 && contentRange(headers)?.total === undefined);
}

/** The size in the headers of a 200 response. */
export function sizeOf({ headers }: Answer): ContentSize {
  return { size: contentLength(headers) };
}

/** The size of the blob by the response to a request for its first byte. Discards the body. */
export async function partialBlobSize(answer: Answer): Promise<ContentSize> {
  await answer.body.discard();
  if (answer.status === 200) return sizeOf(answer);
  // An empty blob has no first byte; its 416 states the size.
  return { size: contentRange(answer.headers)?.total };
}

/**
 * The stream of a 200 or 206 response. Throws UpstreamFailure, and closes the body, if it does not match the request.
 */
export function blobStream(answer: Answer, options: BlobStreamOptions): BlobStream {
  const extent = answer.status === 206 ? partExtent(answer, options.offset) : wholeExtent(answer);
  if (extent === undefined) throw refused(answer, 'sent another range than requested');
  const closed = new AbortController();
  const close = (): void => {
    closed.abort();
    answer.body.close();
  };
  const codings = contentCodings(answer.headers);
  const bytes = bytesOf(answer, extent.length, { ...options, closed: closed.signal });
  // Some stores label a compressed blob as encoded; its size shows that no proxy encoded it.
  const { offset, totalSize } = extent;
  if (codings.length === 0 || (totalSize !== undefined && totalSize === options.expectedSize)) {
    return { offset, totalSize, body: bytes, isDecoded: false, close };
  }
  if (answer.status === 206 || !canDecode(codings)) {
    throw refused(answer, `sent the blob encoded (${codings.join(', ')}) without being asked to`);
  }
  return { offset: 0, body: decoded(bytes, codings), isDecoded: true, close };
}

function refused(answer: Answer, what: string): UpstreamFailure {
  answer.body.close();
  return unavailable('not-a-registry', `${answer.url.host} ${what}`);
}

function wholeExtent({ headers }: Answer): Extent {
  const length = contentLength(headers);
  return { offset: 0, length, totalSize: length };
}

function partExtent({ headers }: Answer, offset: number): Extent | undefined {
  const { range, total } = contentRange(headers) ?? {};
  if (range === undefined || range.start !== offset) return undefined;
  const length = range.end - range.start;
  if ((contentLength(headers) ?? length) !== length) return undefined;
  return { offset, length, totalSize: total };
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
