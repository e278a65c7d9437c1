import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestEnded } from '../../events/events.ts';
import type { CacheStatus } from '../../mirror/answer/answers.ts';

/** Kinds of requests, for log and metrics. */
export type RequestKind =
  'ping' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'catalog' | 'health' | 'other';

/** One request, its response, and what log and metrics report about them. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The client's address, also behind a trusted proxy. */
  readonly client: string;
  readonly startedAt: number;
  /** The client's account, on `authListen`. */
  account: string | undefined;
  kind: RequestKind;
  /** `docker.io/library/golang`, once known. */
  repository: string | undefined;
  /** The requested tag or digest. */
  reference: string | undefined;
  cache: CacheStatus;
  /** Bytes of the body sent so far. */
  bytes: number;
  /** The `Vary` header of the response or error. */
  vary: string | undefined;
  /** The value of `?ns=`, which `OCI-Namespace` confirms. */
  namespace: string | undefined;
}

export function isHead(exchange: Exchange): boolean {
  return exchange.request.method === 'HEAD';
}

/** True for GET and HEAD. */
export function isRead({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** The status of the response; 499, as in nginx, if the client left before the headers. */
function answerStatus({ response }: Exchange): number {
  return response.headersSent ? response.statusCode : 499;
}

export function requestEnded(exchange: Exchange): RequestEnded {
  const { request, response, client, account, kind, repository, reference, cache, bytes } = exchange;
  return {
    client,
    account,
    method: request.method,
    kind,
    repository,
    reference,
    status: answerStatus(exchange),
    cache,
    bytes,
    durationMs: performance.now() - exchange.startedAt,
    isAborted: !response.writableFinished,
    userAgent: request.headers['user-agent'],
  };
}

/** Confirms `?ns=` (OCI distribution-spec, "Registry Proxying"). */
export function namespaceHeader({ namespace }: Exchange): { readonly 'OCI-Namespace'?: string } {
  return namespace === undefined ? {} : { 'OCI-Namespace': namespace };
}

/** Sends a complete response at once; a HEAD gets the same headers and no body. */
export function sendBytes(
  exchange: Exchange,
  status: number,
  options: { headers: Record<string, string | number>; body: Buffer },
): void {
  const { response } = exchange;
  response.writeHead(status, { ...options.headers, 'Content-Length': options.body.length });
  if (isHead(exchange)) {
    response.end();
    return;
  }
  exchange.bytes += options.body.length;
  response.end(options.body);
}
