import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Events } from '../../events/events.ts';
import { plainAddress } from '../server/addresses.ts';
import { errorBody } from './errors.ts';
import { cacheStatusHeader } from './headers.ts';

/**
 * Time for the response to arrive before the connection is destroyed. Destroyed at once, unread bytes of the request
 * would make the system reset the connection and drop the response. Never destroyed, a client could keep its slot.
 */
const LINGER_MS = 1000;

const STATUS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

/** The status for an error of Node's parser. */
export function statusOf(error: NodeJS.ErrnoException): number {
  if (error.code === 'HPE_HEADER_OVERFLOW') return 431;
  return error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
}

/** Writes an OCI error to a connection without a response object, and ends the connection. */
export function refuseUnreadable(connection: Duplex, status: number): Events['unreadable'] {
  const phrase = STATUS[status] ?? '';
  const message =
    status === 405
      ? 'CONNECT is refused: this is a mirror, not a forward proxy'
      : `the request is not valid HTTP: ${phrase}`;
  const body = errorBody({ code: 'UNSUPPORTED', message });
  const head = [
    `HTTP/1.1 ${status} ${phrase}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    `Cache-Status: ${cacheStatusHeader('local')}`,
    ...(status === 405 ? ['Allow: GET, HEAD'] : []),
    'Connection: close',
  ];
  const client = plainAddress((connection as Socket).remoteAddress);
  // For `connect`, Node removes its own error listener: a reset would then end the process.
  connection.on('error', () => undefined);
  connection.end(`${head.join('\r\n')}\r\n\r\n${body.toString()}`);
  const linger = setTimeout(() => connection.destroy(), LINGER_MS);
  connection.once('close', () => clearTimeout(linger));
  return { client, status };
}
