import type { AnswerBody } from './answer-body.ts';
import { contentLength, type AnswerHeaders } from './answer-headers.ts';
import { contentCodings, decodedWhole } from './content-coding.ts';
import { bodyFailure } from './network-failure.ts';
import { unavailable } from './outcome.ts';
import type { TimeLimit } from './time-limit.ts';

/** The head of an answer, with its body to be read, discarded or closed. */
export interface Answer {
  /** Who answered. */
  readonly url: URL;
  readonly status: number;
  readonly headers: AnswerHeaders;
  readonly body: AnswerBody;
}

/**
 * The whole body, decoded if somebody on the way encoded it. Throws UpstreamFailure if it is longer than `maxBytes`, breaks off, is shorter than its
 * `Content-Length` or takes longer than `limit`.
 */
export async function readWhole(
  answer: Answer,
  options: { readonly maxBytes: number; readonly limit: TimeLimit },
): Promise<Buffer> {
  const { maxBytes, limit } = options;
  const { host } = answer.url;
  try {
    if ((contentLength(answer.headers) ?? 0) > maxBytes) throw tooLong(host, maxBytes);
    const sent = await limit.wait(collect(answer, maxBytes), host);
    const body = await decodedWhole(sent, contentCodings(answer.headers), maxBytes);
    if (body === undefined) throw tooLong(host, maxBytes);
    return body;
  } catch (error) {
    answer.body.close();
    throw error;
  }
}

async function collect(answer: Answer, maxBytes: number): Promise<Buffer> {
  const { host } = answer.url;
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of answer.body) {
      bytes += chunk.length;
      if (bytes > maxBytes) break;
      chunks.push(chunk);
    }
  } catch (error) {
    throw bodyFailure(error, host);
  }
  if (bytes > maxBytes) throw tooLong(host, maxBytes);
  const [first] = chunks;
  return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
}

function tooLong(host: string, maxBytes: number): Error {
  return unavailable('not-a-registry', `${host} sent more than the ${maxBytes} bytes that are allowed`);
}
