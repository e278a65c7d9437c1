import { descriptorOf, type ManifestAnswer } from '../../mirror/answer/answers.ts';
import { type Exchange, namespaceHeader } from './exchange.ts';
import { cacheStatusHeader, stalenessHeaders, etag, isNotModified } from './headers.ts';

/** Sends a manifest, or its headers to a HEAD, or 304. */
export function sendManifest(exchange: Exchange, answer: ManifestAnswer): void {
  const { request, response } = exchange;
  const descriptor = descriptorOf(answer);
  exchange.cache = answer.cache;
  // A flat array, and no setHeader before: Node would convert any other form to one.
  const headers: string[] = [
    'Docker-Content-Digest',
    descriptor.digest,
    'ETag',
    etag(descriptor.digest),
    'Docker-Distribution-API-Version',
    'registry/2.0',
    'Cache-Status',
    cacheStatusHeader(answer.cache),
  ];
  if (exchange.vary !== undefined) headers.push('Vary', exchange.vary);
  if (answer.stale !== undefined || exchange.namespace !== undefined) {
    const others = { ...stalenessHeaders(answer.stale, Date.now()), ...namespaceHeader(exchange) };
    for (const pair of Object.entries(others)) headers.push(...pair);
  }
  if (isNotModified(request.headers['if-none-match'], descriptor.digest)) {
    response.writeHead(304, headers).end();
    return;
  }
  headers.push('Content-Type', descriptor.mediaType, 'Content-Length', String(descriptor.size));
  response.writeHead(200, headers);
  if ('head' in answer) {
    response.end();
    return;
  }
  const { bytes } = answer.manifest;
  exchange.bytes += bytes.length;
  response.end(bytes);
}
