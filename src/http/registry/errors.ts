import { visible } from '../../lib/text.ts';
import { PullError } from '../../mirror/answer/errors.ts';
import { sendBytes, type Exchange, namespaceHeader } from './exchange.ts';
import { cacheStatusHeader, headerText, warning } from './headers.ts';

/** Error codes of the OCI distribution-spec ("Error Codes"); UNAVAILABLE is distribution's, for its 503. */
export type OciErrorCode =
  | 'BLOB_UNKNOWN'
  | 'DENIED'
  | 'DIGEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'SIZE_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
  | 'UNAVAILABLE'
  | 'UNKNOWN'
  | 'UNSUPPORTED';

export interface OciError {
  readonly code: OciErrorCode;
  /** Docker, Podman and crane print it. */
  readonly message: string;
  readonly detail?: unknown;
}

/** The JSON body of an error response. Clients print the message, which may quote a registry, on their terminals. */
export function errorBody(error: OciError): Buffer {
  const shown = { ...error, message: visible(error.message) };
  return Buffer.from(`${JSON.stringify({ errors: [shown] })}\n`);
}

/** A request that is refused whatever is in the cache or upstream. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly code = 'request';
  readonly status: number;
  readonly ociCode: OciErrorCode;
  /** Added to the headers of every error. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    ociCode: OciErrorCode,
    message: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.status = status;
    this.ociCode = ociCode;
    this.headers = headers;
  }
}

/** In an outage: `fallthrough` sends clients to their next registry; `strict` reports the outage to them. */
export type FailMode = 'fallthrough' | 'strict';

interface ErrorAnswer {
  readonly status: number;
  readonly code: OciErrorCode;
  readonly message: string;
  /** Adds `Cache-Control: no-store`. */
  readonly noStore?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Sends an OCI error (distribution-spec, "Error Codes"). */
export function sendError(exchange: Exchange, error: unknown, failMode: FailMode): void {
  const answer = answerFor(exchange, error, failMode);
  exchange.cache = cacheOf(error);
  sendBytes(exchange, answer.status, {
    headers: {
      'Content-Type': 'application/json',
      'Docker-Distribution-API-Version': 'registry/2.0',
      'Cache-Status': cacheStatusHeader(exchange.cache),
      ...(answer.noStore === true ? { 'Cache-Control': 'no-store' } : {}),
      ...(isOutage(error) ? reasonHeaders(answer.message) : {}),
      ...(answer.status === 405 ? { Allow: 'GET, HEAD' } : {}),
      ...answer.headers,
      ...(exchange.vary === undefined ? {} : { Vary: exchange.vary }),
      ...namespaceHeader(exchange),
    },
    body: errorBody({ code: answer.code, message: answer.message }),
  });
}

function isOutage(error: unknown): boolean {
  return error instanceof PullError && error.code === 'unavailable';
}

/**
 * The reason, for clients that see no body: a HEAD has none, and containerd drops that of a 404. Podman, skopeo and
 * crane print warnings; containerd logs all headers of a response (`core/remotes/docker`, `responseFields`).
 */
function reasonHeaders(message: string): Record<string, string> {
  const text = headerText(message);
  return { Warning: warning(text), 'Pierhead-Error': text };
}

/** True if neither a request nor an upstream can cause the error: then it is a fault of this program. */
export function isInternal(error: unknown): boolean {
  return !(error instanceof PullError || error instanceof RequestError);
}

function answerFor(exchange: Exchange, error: unknown, failMode: FailMode): ErrorAnswer {
  if (error instanceof RequestError) {
    const { status, ociCode: code, message, headers } = error;
    // Errors about one client's credentials or rate do not apply to others, and soon expire.
    return { status, code, message, headers, noStore: [401, 429, 503].includes(status) };
  }
  if (!(error instanceof PullError)) return { status: 500, code: 'UNKNOWN', message: 'internal error' };
  const { message, noStore } = error;
  switch (error.code) {
    case 'repository-unknown':
      return {
        status: 404,
        code: exchange.kind === 'blob' ? 'BLOB_UNKNOWN' : 'NAME_UNKNOWN',
        message,
        noStore,
      };
    case 'manifest-unknown':
    case 'platform-unknown':
      return { status: 404, code: 'MANIFEST_UNKNOWN', message, noStore };
    case 'blob-unknown':
      return { status: 404, code: 'BLOB_UNKNOWN', message, noStore };
    case 'denied':
      return { status: 403, code: 'DENIED', message };
    case 'unavailable':
      return unavailable(exchange, message, failMode);
  }
}

/**
 * In `fallthrough` mode, a missing blob is a 404 in an outage: every client then tries its next registry at once. A 5xx
 * would cost a Docker Engine 50 s of retries. In `strict` mode a Docker Engine gets a 403, which it does not retry.
 */
function unavailable(exchange: Exchange, message: string, failMode: FailMode): ErrorAnswer {
  if (failMode === 'strict' && isGraphDriverDocker(exchange.request.headers['user-agent'])) {
    return { status: 403, code: 'DENIED', message, noStore: true };
  }
  if (failMode === 'fallthrough' && exchange.kind === 'blob') {
    return { status: 404, code: 'BLOB_UNKNOWN', message, noStore: true };
  }
  return { status: 503, code: 'UNAVAILABLE', message, noStore: true };
}

/** True for a Docker Engine without the containerd image store, which adds a `containerd-client/` token. */
function isGraphDriverDocker(userAgent: string | undefined): boolean {
  return (
    userAgent !== undefined && userAgent.startsWith('docker/') && !userAgent.includes(' containerd-client/')
  );
}

function cacheOf(error: unknown) {
  if (!(error instanceof PullError)) return 'local';
  return error.remembered ? 'negative' : 'miss';
}
