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
  /** For people: Docker, Podman and crane print it. */
  readonly message: string;
  readonly detail?: unknown;
}

/** The JSON body of an error answer. Its message holds what registries say, and ends on the terminals of clients. */
export function errorBody(error: OciError): Buffer {
  const shown = { ...error, message: visible(error.message) };
  return Buffer.from(`${JSON.stringify({ errors: [shown] })}\n`);
}

/** A request that cannot be served whatever the cache and upstream hold. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly code = 'request';
  readonly status: number;
  readonly ociCode: OciErrorCode;
  /** Besides those of every error. */
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

/** What a client gets for what upstream cannot give: sent on to the next registry, or told that it is an outage. */
export type FailMode = 'fallthrough' | 'strict';

interface ErrorAnswer {
  readonly status: number;
  readonly code: OciErrorCode;
  readonly message: string;
  /** Whether a cache in front of this one may remember it. */
  readonly noStore?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers with an OCI error (distribution-spec, "Error Codes"). */
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
 * Why something is not to be had, for those who see no body: of a HEAD there is none, of a 404 containerd drops it. Podman,
 * skopeo and crane print warnings; containerd logs all headers of an answer (`core/remotes/docker`, `responseFields`).
 */
function reasonHeaders(message: string): Record<string, string> {
  const text = headerText(message);
  return { Warning: warning(text), 'Pierhead-Error': text };
}

/** True if the error is none that a request or an upstream can bring about, and so is a fault of this program. */
export function isInternal(error: unknown): boolean {
  return !(error instanceof PullError || error instanceof RequestError);
}

function answerFor(exchange: Exchange, error: unknown, failMode: FailMode): ErrorAnswer {
  if (error instanceof RequestError) {
    const { status, ociCode: code, message, headers } = error;
    // What was said of one client's credentials or pace holds for no other and not for long.
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
 * A blob that is missing in an outage is a 404 in `fallthrough`: every client then goes on to the next registry at
 * once, whereas a 5xx costs a Docker Engine 50 s of retries. In `strict` mode such an engine gets a 403 instead,
 * which it does not retry either.
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

/** A Docker Engine without the containerd image store: with it, the User-Agent has a `containerd-client/` token. */
function isGraphDriverDocker(userAgent: string | undefined): boolean {
  return (
    userAgent !== undefined && userAgent.startsWith('docker/') && !userAgent.includes(' containerd-client/')
  );
}

function cacheOf(error: unknown) {
  if (!(error instanceof PullError)) return 'local';
  return error.remembered ? 'negative' : 'miss';
}
