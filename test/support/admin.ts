import { rawRequest, type RawResponse } from './http.ts';

/** What `POST /api/v1/refresh` says; `body` overrules what is sent. */
export async function refresh(
  app: { readonly adminUrl: string },
  image: string,
  body = JSON.stringify({ image }),
): Promise<RawResponse & { readonly json: Readonly<Record<string, unknown>> }> {
  const answer = await rawRequest({
    origin: app.adminUrl,
    method: 'POST',
    target: '/api/v1/refresh',
    headers: [['Content-Type', 'application/json']],
    body,
  });
  return { ...answer, json: JSON.parse(answer.body.toString()) as Readonly<Record<string, unknown>> };
}
