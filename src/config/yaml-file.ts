import { createRequire } from 'node:module';
import type * as Yaml from 'yaml';
import { registryHost } from '../oci/reference.ts';
import { isRegistryHost } from './addresses.ts';
import type { Raw } from './fields.ts';
import { SETTINGS } from './schema.ts';
import {
  nearestName,
  accountPlace,
  clientPlace,
  identityPlace,
  settingSlot,
  slotIn,
  upstreamPlace,
  type Assignment,
  type Place,
  type Slot,
  type Source,
} from './sources.ts';
import { quoted } from './units.ts';
import type { NamedMap } from './values.ts';

export interface FileContent {
  readonly assignments: readonly Assignment[];
  /** The upstreams and items of lists that the file holds, with the lines where they begin. */
  readonly maps: readonly NamedMap[];
  /** A sentence for each problem, with file and line. No sentence quotes a value, which might be a secret. */
  readonly problems: readonly string[];
}

/** `path` is the settings file as the user named it. */
export function readYamlFile(path: string, text: string): FileContent {
  return new YamlFile(path, text).read();
}

/** Loaded with the first file: it takes 40 ms and 7 MB, and a server may have no settings file. */
function loadYaml(): typeof Yaml {
  return createRequire(import.meta.url)('yaml') as typeof Yaml;
}

interface Entry {
  readonly key: string;
  readonly line: number;
  /** With aliases resolved. */
  readonly value: unknown;
}

class YamlFile {
  readonly #path: string;
  readonly #yaml = loadYaml();
  readonly #lines = new this.#yaml.LineCounter();
  readonly #document: Yaml.Document;
  readonly #assignments: Assignment[] = [];
  readonly #maps: NamedMap[] = [];
  readonly #problems: string[] = [];

  constructor(path: string, text: string) {
    this.#path = path;
    // With prettyErrors, messages would quote the text around the error.
    this.#document = this.#yaml.parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      uniqueKeys: false,
    });
  }

  read(): FileContent {
    for (const { pos, code } of [...this.#document.errors, ...this.#document.warnings]) {
      const { line, col } = this.#lines.linePos(pos[0]);
      const hint = 'put quotes around a text that begins with a special character';
      this.#problems.push(`${this.#path}:${line}:${col}: not valid YAML (${code}); ${hint}`);
    }
    if (this.#problems.length === 0) this.#readTop();
    return { assignments: this.#assignments, maps: this.#maps, problems: this.#problems };
  }

  #readTop(): void {
    if (this.#isNothing(this.#document.contents)) return;
    if (!this.#yaml.isMap(this.#document.contents)) {
      this.#problems.push(`${this.#path}:1: the file must hold a map of keys to values`);
      return;
    }
    for (const entry of this.#entries(this.#document.contents.items, '')) {
      const slot = settingSlot(entry.key);
      if (entry.key === 'upstreams') this.#readUpstreams(entry);
      else if (entry.key === 'clients') this.#readList(entry, { id: 'clients', placeOf: clientPlace });
      else if (entry.key === 'accounts') this.#readList(entry, { id: 'accounts', placeOf: accountPlace });
      else if (slot === undefined) {
        this.#unknown(keyName(entry.key), entry, [
          'upstreams',
          'clients',
          'accounts',
          ...Object.keys(SETTINGS),
        ]);
      } else this.#assign(slot, entry);
    }
  }

  #readUpstreams(upstreams: Entry): void {
    if (this.#isNothing(upstreams.value)) return;
    if (!this.#yaml.isMap(upstreams.value)) {
      this.#complain('upstreams', upstreams, 'takes a map of hosts to upstreams');
      return;
    }
    const seen = new Map<string, Entry>();
    for (const entry of this.#entries(upstreams.value.items, 'upstreams.')) {
      const host = registryHost(entry.key);
      const first = seen.get(host);
      seen.set(host, first ?? entry);
      if (first !== undefined) {
        this.#complain(
          'upstreams',
          entry,
          `${quoted(entry.key)} is ${host}, which line ${first.line} names already`,
        );
      } else if (isRegistryHost(entry.key)) this.#readUpstream({ ...entry, key: host });
      else {
        const what = `${quoted(entry.key)} is not a registry's host`;
        this.#complain(
          'upstreams',
          entry,
          `${what}; allowed: host or host:port in lower case, such as ghcr.io`,
        );
      }
    }
  }

  #readUpstream(upstream: Entry): void {
    const map = upstreamPlace(upstream.key);
    const url = slotIn(map, 'url');
    if (url !== undefined && (this.#isNothing(upstream.value) || this.#yaml.isScalar(upstream.value))) {
      this.#maps.push({ map, source: this.#source(upstream) });
      this.#assign(url, upstream);
      return;
    }
    if (!this.#yaml.isMap(upstream.value)) {
      this.#complain(map.id, upstream, 'takes a url or a map of keys to values');
      return;
    }
    this.#maps.push({ map, source: this.#source(upstream) });
    for (const entry of this.#entries(upstream.value.items, `${map.id}.`)) {
      if (entry.key === 'identities') {
        const placeOf = (index: number) => identityPlace(map, index);
        this.#readList(entry, { id: `${map.id}.identities`, placeOf });
      } else this.#readKey(map, entry, ['identities']);
    }
  }

  /** A list of maps. */
  #readList(list: Entry, to: { readonly id: string; readonly placeOf: (index: number) => Place }): void {
    if (this.#isNothing(list.value)) return;
    if (!this.#yaml.isSeq(list.value)) {
      this.#complain(to.id, list, 'takes a list of maps of keys to values');
      return;
    }
    for (const [index, node] of list.value.items.entries()) {
      const item = this.#resolve(node);
      const map = to.placeOf(index);
      const offset = this.#yaml.isMap(item) ? item.range?.[0] : undefined;
      const line = offset === undefined ? list.line : this.#lines.linePos(offset).line;
      const start: Entry = { key: map.id, line, value: item };
      if (!this.#yaml.isMap(item)) {
        this.#complain(map.id, start, 'takes a map of keys to values');
        continue;
      }
      this.#maps.push({ map, source: this.#source(start) });
      for (const entry of this.#entries(item.items, `${map.id}.`)) this.#readKey(map, entry);
    }
  }

  #readKey(map: Place, entry: Entry, others: readonly string[] = []): void {
    const slot = slotIn(map, entry.key);
    if (slot !== undefined) this.#assign(slot, entry);
    else this.#unknown(`${map.id}.${keyName(entry.key)}`, entry, [...Object.keys(map.table), ...others]);
  }

  #assign(slot: Slot, entry: Entry): void {
    if (this.#isNothing(entry.value)) return;
    if (this.#isFolded(entry.value)) {
      this.#complain(
        slot.id,
        entry,
        'continues in the next line; a blank after a colon may be missing there',
      );
      return;
    }
    const raw = this.#raw(entry.value);
    if (raw === undefined) {
      this.#complain(slot.id, entry, `must be a text or a list of texts; allowed: ${slot.setting.allowed}`);
    } else this.#assignments.push({ ...slot, raw, source: this.#source(entry) });
  }

  /** The source text of scalars, so that a password of digits keeps its leading zeros. */
  #raw(value: unknown): Raw | undefined {
    if (this.#yaml.isScalar(value)) return value.source ?? '';
    if (!this.#yaml.isSeq(value)) return undefined;
    const items = value.items.map((item) => this.#resolve(item));
    return items.every((item) => this.#yaml.isScalar(item))
      ? items.map((item) => item.source ?? '')
      : undefined;
  }

  /** True for unquoted text over several lines. Most likely the next key became part of the value. */
  #isFolded(value: unknown): boolean {
    if (!this.#yaml.isScalar(value) || value.type !== 'PLAIN' || !value.range) return false;
    const [start, end] = value.range;
    return this.#lines.linePos(start).line !== this.#lines.linePos(end).line;
  }

  /** The entries of a map. A duplicate key is a problem and is left out. */
  #entries(pairs: readonly Yaml.Pair[], prefix: string): Entry[] {
    const entries = new Map<string, Entry>();
    for (const pair of pairs) {
      const key = this.#yaml.isScalar(pair.key) ? (pair.key.source ?? '') : '';
      const offset = this.#yaml.isScalar(pair.key) ? pair.key.range?.[0] : undefined;
      const entry = { key, line: this.#lines.linePos(offset ?? 0).line, value: this.#resolve(pair.value) };
      const first = entries.get(key);
      if (this.#yaml.isAlias(entry.value)) {
        const what = 'names an unknown anchor; put quotes around a text that begins with *';
        this.#complain(`${prefix}${keyName(key)}`, entry, what);
      } else if (first === undefined) entries.set(key, entry);
      else this.#complain(`${prefix}${keyName(key)}`, entry, `duplicate key, first in line ${first.line}`);
    }
    return [...entries.values()];
  }

  /** The node of an alias. An alias without an anchor stays an alias. */
  #resolve(node: unknown): unknown {
    return this.#yaml.isAlias(node) ? (node.resolve(this.#document) ?? node) : node;
  }

  #unknown(id: string, entry: Entry, known: readonly string[]): void {
    const nearest = nearestName(keyName(entry.key), known);
    const hint = nearest === undefined ? `known are ${known.join(', ')}` : `did you mean ${nearest}?`;
    this.#complain(id, entry, `unknown key; ${hint}`);
  }

  #complain(id: string, entry: Entry, what: string): void {
    this.#problems.push(`${id} (file ${this.#path}:${entry.line}): ${what}`);
  }

  #source(entry: Entry): Source {
    return { kind: 'file', path: this.#path, line: entry.line };
  }

  /** A key without a value, `~` or `null`: not set. */
  #isNothing(value: unknown): boolean {
    return value === null || value === undefined || (this.#yaml.isScalar(value) && value.value === null);
  }
}

/** An unknown key, cut at its first special character: `password:secret` without a blank is one key with a secret. */
function keyName(key: string): string {
  const name = /^[\w.-]*/.exec(key)?.[0] ?? '';
  return name === key ? key : `${name}…`;
}
