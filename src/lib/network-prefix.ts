import { ipBytes } from './ip-bytes.ts';

/** How many leading bits make addresses one network. */
export interface PrefixBits {
  readonly v4: number;
  readonly v6: number;
}

/** The same text for all addresses of a network, and another for each network; `text` itself if it is no address. */
export function networkPrefix(text: string, bits: PrefixBits): string {
  const bytes = ipBytes(text);
  if (bytes === undefined) return text;
  const spare = bytes.length * 8 - (bytes.length === 4 ? bits.v4 : bits.v6);
  return `${bytes.length} ${BigInt(`0x${bytes.toString('hex')}`) >> BigInt(spare)}`;
}
