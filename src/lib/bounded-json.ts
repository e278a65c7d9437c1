import { JsonReader, type JsonLimits } from './json-reader.ts';

/** What a record, an answer or a request of a few fields never comes near. Building all of it takes some 10 ms at most. */
const SMALL_JSON: JsonLimits = { maxDepth: 32, maxValues: 10_000, maxKeys: 5000 };

/** What another process of Pierhead wrote: there is no limit on how many images a command is about. */
export const OWN_JSON: JsonLimits = { maxDepth: 32, maxValues: 3_000_000, maxKeys: 3_000_000 };

/**
 * `JSON.parse` for what comes from outside: nothing is built unless all of it is within the limits. Throws JsonError,
 * which quotes nothing.
 */
export function parseJson(source: Buffer | string, limits: JsonLimits = SMALL_JSON): unknown {
  new JsonReader(typeof source === 'string' ? Buffer.from(source) : source, limits).read();
  return JSON.parse(typeof source === 'string' ? source : source.toString('utf8'));
}
