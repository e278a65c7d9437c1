import { createHmac, randomBytes } from 'node:crypto';
import { bytesAnswer, type Answer } from './answer.ts';
import type { Content } from './content.ts';
import type { Library } from './library.ts';
import type { LoggedRequest, RequestLog, RequestTarget } from './log.ts';
import type { Site } from './site.ts';

export interface BlobHostOptions {
  readonly library: Library;
  readonly log: RequestLog;
  readonly nowMs: () => number;
  readonly urlLifetimeSeconds: number;
}

const PATH = /^\/registry-v2\/docker\/registry\/v2\/blobs\/(sha256|sha512)\/[0-9a-f]{2}\/([0-9a-f]+)\/data$/;

/** The object store behind the registry: it knows signed URLs and nothing of tokens, as S3 and R2 do. */
export class BlobHost implements Site {
  readonly host = 'blobs';
  urlLifetimeSeconds: number;
  readonly #options: BlobHostOptions;
  readonly #key = randomBytes(32);

  constructor(options: BlobHostOptions) {
    this.#options = options;
    this.urlLifetimeSeconds = options.urlLifetimeSeconds;
  }

  /** Path and query that give the blob to whoever sends them, by GET only, until they expire. */
  signedTarget(digest: string): string {
    const [algorithm = '', hex = ''] = digest.split(':');
    const path = `/registry-v2/docker/registry/v2/blobs/${algorithm}/${hex.slice(0, 2)}/${hex}/data`;
    const expires = String(this.#options.nowMs() + this.urlLifetimeSeconds * 1000);
    return `${path}?expires=${expires}&sig=${this.#signature('GET', path, expires)}`;
  }

  target(path: string): RequestTarget {
    const match = PATH.exec(path);
    return match === null ? { kind: 'other' } : { kind: 'blob', reference: `${match[1]}:${match[2]}` };
  }

  answer(request: LoggedRequest): Answer {
    if (request.headers.authorization !== undefined) {
      this.#options.log.violations.push({ reason: 'Authorization sent to the blob host', request });
      return xmlError(400, 'InvalidArgument', 'Only one auth mechanism allowed');
    }
    const expires = request.query.get('expires') ?? '';
    if (request.query.get('sig') !== this.#signature(request.method, request.path, expires)) {
      return xmlError(403, 'SignatureDoesNotMatch', 'The request signature does not match');
    }
    if (Number(expires) <= this.#options.nowMs()) {
      return xmlError(403, 'AccessDenied', 'Request has expired');
    }
    const blob = this.#options.library.findBlob(request.reference ?? '');
    if (blob === undefined) return xmlError(404, 'NoSuchKey', 'The specified key does not exist');
    return blobAnswer(blob, request.headers.range);
  }

  #signature(method: string, path: string, expires: string): string {
    return createHmac('sha256', this.#key).update(`${method}\n${path}\n${expires}`).digest('hex');
  }
}

/** The blob, or the one range of it that was asked for (RFC 9110 section 14; several ranges give the whole). */
export function blobAnswer(blob: Content, rangeHeader: string | undefined): Answer {
  const headers = {
    'content-type': 'application/octet-stream',
    'accept-ranges': 'bytes',
    'content-length': String(blob.size),
    etag: `"${blob.digest.slice(7, 39)}"`,
  };
  const match = /^bytes=(\d*)-(\d*)$/.exec(rangeHeader ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (first === '' && last === '') return { status: 200, headers, body: blob };
  const start = first === '' ? Math.max(0, blob.size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? blob.size : Math.min(blob.size, Number(last) + 1);
  if (start >= end) {
    const error = xmlError(416, 'InvalidRange', 'The requested range is not satisfiable');
    return { ...error, headers: { ...error.headers, 'content-range': `bytes */${blob.size}` } };
  }
  const contentRange = `bytes ${start}-${end - 1}/${blob.size}`;
  return {
    status: 206,
    headers: { ...headers, 'content-length': String(end - start), 'content-range': contentRange },
    body: blob,
    range: { start, end },
  };
}

function xmlError(status: number, code: string, message: string): Answer {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return bytesAnswer(status, xml, { 'content-type': 'application/xml' });
}
