/** Paths of what a client trusts and, where the mirror wants to know who it is, shows. */
export interface ClientTls {
  readonly ca: string;
  readonly client?: { readonly cert: string; readonly key: string };
}
