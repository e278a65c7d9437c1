import { parseDigest, type Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, type Descriptor } from '../oci/manifest.ts';
import { bareMediaType } from '../oci/media-types.ts';
import { contentLength, headerText, type AnswerHeaders } from './answer-headers.ts';
import { readWhole, type Answer } from './answer.ts';
import type { TimeLimit } from './time-limit.ts';
import type { FetchedManifest } from './upstream.ts';

/** What the headers of a manifest tell of it; undefined if they do not tell all: no manifest is empty (old zot says so). */
export function descriptorOf(headers: AnswerHeaders): Descriptor | undefined {
  const digest = statedDigest(headers);
  const mediaType = statedType(headers);
  const size = contentLength(headers);
  if (digest === undefined || mediaType === '' || size === undefined || size === 0) return undefined;
  return { digest, mediaType, size };
}

/** Throws UpstreamFailure if the body is too long or breaks off. */
export async function readManifest(answer: Answer, limit: TimeLimit): Promise<FetchedManifest> {
  const bytes = await readWhole(answer, { maxBytes: MAX_MANIFEST_BYTES, limit });
  const digest = statedDigest(answer.headers);
  return { mediaType: statedType(answer.headers), bytes, ...(digest === undefined ? {} : { digest }) };
}

function statedDigest(headers: AnswerHeaders): Digest | undefined {
  return parseDigest(headerText(headers, 'docker-content-digest')?.trim() ?? '');
}

function statedType(headers: AnswerHeaders): string {
  return bareMediaType(headerText(headers, 'content-type') ?? '');
}
