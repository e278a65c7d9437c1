import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, type Document } from 'yaml';
import { ListError } from './list-error.ts';

/** Maps that are merged into maps that are merged: nobody goes deeper. */
const MAX_MERGES = 8;

/** The documents of a file that the user calls `path`, without the empty ones. Throws ListError. */
export function parseYaml(path: string, text: string): YamlNode[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  return [...documents].flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const { line } = lines.linePos(error.pos[0]);
      throw new ListError(`${path}:${line}: this is not valid YAML: ${error.message}`);
    }
    const node = new YamlNode({ document, lines }, document.contents);
    return isMap(document.contents) || node.items.length > 0 ? [node] : [];
  });
}

interface Place {
  readonly document: Document;
  readonly lines: LineCounter;
}

/** A place in a YAML document: aliases are followed, merge keys looked into, texts given as they are spelt. */
export class YamlNode {
  readonly #place: Place;
  readonly #node: unknown;
  readonly #offset: number;

  constructor(place: Place, node: unknown, offset = offsetOf(node) ?? 0) {
    this.#place = place;
    this.#node = isAlias(node) ? node.resolve(place.document) : node;
    this.#offset = offset;
  }

  get line(): number {
    return this.#place.lines.linePos(this.#offset).line;
  }

  /** The same for all aliases of a place, so that whoever walks goes nowhere twice. */
  get identity(): unknown {
    return this.#node;
  }

  /** Undefined: it is no text, or nothing. */
  get text(): string | undefined {
    return isScalar(this.#node) && this.#node.value !== null ? this.#node.source : undefined;
  }

  /** What a list holds; empty if it is none. */
  get items(): readonly YamlNode[] {
    return isSeq(this.#node) ? this.#node.items.map((item) => new YamlNode(this.#place, item)) : [];
  }

  /** The entries of a map, those merged into it included; empty if it is none. */
  get entries(): readonly (readonly [key: string, value: YamlNode])[] {
    return [...this.#merged(MAX_MERGES, new Set())];
  }

  get(key: string): YamlNode | undefined {
    return this.#merged(MAX_MERGES, new Set()).get(key);
  }

  /** What lies at the end of a path of keys. */
  at(...keys: readonly string[]): YamlNode | undefined {
    return keys.reduce<YamlNode | undefined>((node, key) => node?.get(key), this);
  }

  /**
   * Own entries overrule merged ones, and of those the first does (yaml.org/type/merge.html). So a map that is merged again
   * adds nothing; without `seen`, few lines could make it be merged a billion times.
   */
  #merged(depth: number, seen: Set<unknown>): Map<string, YamlNode> {
    const entries = new Map<string, YamlNode>();
    if (!isMap(this.#node) || depth === 0 || seen.has(this.#node)) return entries;
    seen.add(this.#node);
    const merges: YamlNode[] = [];
    for (const { key, value } of this.#node.items) {
      const name = isScalar(key) ? (key.source ?? '') : '';
      const node = new YamlNode(this.#place, value, offsetOf(key));
      if (name === '<<') merges.push(...(isSeq(node.#node) ? node.items : [node]));
      else entries.set(name, node);
    }
    for (const merge of merges) {
      for (const [name, node] of merge.#merged(depth - 1, seen))
        if (!entries.has(name)) entries.set(name, node);
    }
    return entries;
  }
}

function offsetOf(node: unknown): number | undefined {
  const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
  return Array.isArray(range) ? Number(range[0]) : undefined;
}
