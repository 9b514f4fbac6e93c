// What tests ask of the provider, below /test/. Each takes and answers JSON.
//
// POST login   {user, client, resource?, scope?, nonce?}: the whole code flow with PKCE; answers the token response
// POST sign    {header, claims}: a JWT of these exact parts, under the newest key of header.alg (ES256 where absent)
// POST rotate  {forget?}: new signing keys; the JWKS goes on showing the earlier ones, unless they are to be forgotten
// POST jwks    {away}: from now on the JWKS cannot be read, or can again
// GET  jwks    {reads, away, kids}: how often the JWKS was asked for, and what it shows
import { importJWK } from 'jose';
import { login } from './login.mjs';

const json = (response, status, body) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};

const b64 = (value) => Buffer.from(value).toString('base64url');

/** Signs whatever it is told to: `jose` itself would refuse most of what a hostile token says. */
async function sign(keys, { header = {}, claims }) {
  const key = keys.find((key) => key.alg === (header.alg ?? 'ES256')) ?? keys[0];
  const input = `${b64(JSON.stringify({ alg: key.alg, kid: key.kid, ...header }))}.${b64(JSON.stringify(claims))}`;
  const ways = { ES256: { name: 'ECDSA', hash: 'SHA-256' }, RS256: { name: 'RSASSA-PKCS1-v1_5' } };
  const signature = await crypto.subtle.sign(ways[key.alg], await importJWK(key, key.alg), Buffer.from(input));
  return `${input}.${b64(new Uint8Array(signature))}`;
}

const routes = {
  'POST login': (state, body) => login({ issuer: state.issuer, ...body }),
  'POST sign': async (state, body) => ({ jwt: await sign(state.keys, body) }),
  'POST rotate': async (state, { forget = false }) => {
    const keys = await state.newKeys();
    state.use(forget ? keys : [...keys, ...state.keys]);
    return { kids: state.keys.map((key) => key.kid) };
  },
  'POST jwks': (state, { away }) => {
    state.jwksAway = away;
    return { away };
  },
  'GET jwks': (state) => ({ reads: state.jwksReads, away: state.jwksAway, kids: state.keys.map((key) => key.kid) }),
};

export async function testRoutes(state, name, request, response) {
  const route = routes[`${request.method} ${name}`];
  if (!route) return json(response, 404, { error: `no ${request.method} ${name}` });
  try {
    return json(response, 200, await route(state, JSON.parse((await state.readBody(request)) || '{}')));
  } catch (error) {
    return json(response, 400, { error: error.message, cause: error.cause });
  }
}
