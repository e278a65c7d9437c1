import { limited, unavailable, type UpstreamFailure } from '../upstream.ts';
import { retryAfterMs } from './headers.ts';

const TLS_CODE = /^(?:CERT_|CRL_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_|EPROTO)/;

/** Details in errors of Node; which are present depends on the error. */
interface NetworkError extends Error {
  readonly code?: string;
  readonly hostname?: string;
  readonly address?: string;
  readonly port?: number;
  /** The bytes of a parser error. */
  readonly rawPacket?: Buffer;
}

/** The failure of an `error` before a response from `host`. */
export function networkFailure(
  error: unknown,
  context: { readonly host: string; readonly connectTimeoutMs: number },
): UpstreamFailure {
  const { host, connectTimeoutMs } = context;
  const details = detailsOf(error);
  const { code = '', message, rawPacket } = details;
  if (code === 'ERR_PROXY') {
    return unavailable('unreachable', `the proxy does not connect to ${host}, ${message}`, error);
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return unavailable('not-a-registry', `${host} sent more than 16 KiB of headers`, error);
  }
  if (code.startsWith('HPE_') || code === 'ERR_UNASKED_UPGRADE')
    return unparsable(rawPacket?.toString('latin1') ?? '', host, error);
  if (code === 'ERR_FORBIDDEN_ADDRESS') return unavailable('not-a-registry', message, error);
  if (TLS_CODE.test(code)) {
    return unavailable('unreachable', `no TLS connection to ${host}: ${message} (${code})`, error);
  }
  return unavailable('unreachable', unreachableReason(details, host, connectTimeoutMs), error);
}

/** The failure of an `error` in the body of a response from `host`. */
export function bodyFailure(error: unknown, host: string): UpstreamFailure {
  return isStall(error)
    ? unavailable('timeout', `${host} stopped sending in the middle of a response`, error)
    : unavailable('unreachable', `${host} broke off its response`, error);
}

export function isStall(error: unknown): boolean {
  return detailsOf(error).code === 'ERR_BODY_STALLED';
}

/** True if the connection ended before a response. */
export function isLostConnection(error: unknown): boolean {
  return ['ECONNRESET', 'EPIPE'].includes(detailsOf(error).code ?? '');
}

function unreachableReason(error: NetworkError, host: string, connectTimeoutMs: number): string {
  const { code, address, port, hostname } = error;
  switch (code) {
    case 'ECONNREFUSED':
      return `connection refused by ${host}${address === undefined ? '' : ` (${address}:${port})`}`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `cannot resolve the name ${hostname ?? host} (${code})`;
    case 'ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return `no connection to ${host} within ${connectTimeoutMs / 1000} s`;
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `no route to ${host} (${code})`;
    case 'ERR_TRANSPORT_CLOSED':
      return `${host} is no longer asked, because this server is stopping`;
    default:
      if (isLostConnection(error)) return `${host} closed the connection without an answer`;
      return `no answer from ${host} (${code ?? error.name})`;
  }
}

/**
 * Docker Hub has sent its abuse limit with bare line feeds, which a strict parser rejects
 * (docker/hub-feedback#1907).
 */
function unparsable(data: string, host: string, error: unknown): UpstreamFailure {
  if (!/too many requests/i.test(data)) {
    return unavailable('not-a-registry', `${host} sent something that is not HTTP`, error);
  }
  const retryAfter = /^retry-after:[ \t]*([^\r\n]*)/im.exec(data)?.[1];
  return limited('abuse', retryAfterMs({ 'retry-after': retryAfter }), error);
}

function detailsOf(error: unknown): NetworkError {
  return error instanceof Error ? error : new Error(String(error));
}
