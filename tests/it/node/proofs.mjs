// Proofs of possession that prove nothing. Input: {gateway, client, app, subject}; prints {good, replayed, hostile}: the status
// of each request, with hostile a list of [what, status, code].
import { createHash, createHmac, generateKeyPairSync, randomUUID, sign as signWith } from 'node:crypto';

const { gateway, client, app, subject } = JSON.parse(process.argv[2]);
const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const hash = (text) => createHash('sha256').update(text).digest('base64url');
const now = () => Math.floor(Date.now() / 1000);
const pair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publicJwk = ({ publicKey }) => publicKey.export({ format: 'jwk' });
const [own, another] = [pair(), pair()];
let nonce;

/** A proof of exactly these parts; what is undefined is left out. */
function proof(key, claims, header = {}) {
  const head = { typ: 'dpop+jwt', alg: 'ES256', jwk: publicJwk(key), ...header };
  const body = { jti: randomUUID(), iat: now(), nonce, ...claims };
  const input = `${b64(head)}.${b64(body)}`;
  return `${input}.${signWith('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

async function send(method, path, headers, body) {
  const answer = await fetch(`${gateway}${path}`, { method, headers, body });
  nonce = answer.headers.get('dpop-nonce') ?? nonce;
  return { status: answer.status, body: await answer.json().catch(() => ({})) };
}

const exchange = (DPoP) =>
  send('POST', '/oauth/token', { ...(DPoP && { DPoP }) }, new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', client_id: client, audience: app,
    subject_token: subject, subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
  }));
const forToken = { htm: 'POST', htu: `${gateway}/oauth/token` };
const first = await exchange(proof(own, forToken)); // without a nonce: the answer brings one
const used = proof(own, forToken);
const got = await exchange(used);
const token = got.body.access_token;
if (!token) throw new Error(JSON.stringify([first, got]));
const hostile = [];
const add = (what, { status, body }) => hostile.push([what, status, body.code ?? body.error]);
add('at the token endpoint: the proof once more', await exchange(used));
add('at the token endpoint: for another address', await exchange(proof(own, { ...forToken, htu: `${gateway}/limits` })));
add('at the token endpoint: by another method', await exchange(proof(own, { ...forToken, htm: 'GET' })));
add('at the token endpoint: no proof at all', await exchange('x'));
add('at the token endpoint: old', await exchange(proof(own, { ...forToken, iat: now() - 3600 })));

const right = () => ({ htm: 'GET', htu: `${gateway}/limits`, ath: hash(token) });
const list = (headers) => send('GET', '/limits', headers);
const dpop = (DPoP) => list({ Authorization: `DPoP ${token}`, DPoP });
await dpop(proof(own, right()));
const spent = proof(own, right());
const good = (await dpop(spent)).status;
const replayed = await dpop(spent);

add('no proof', await list({ Authorization: `DPoP ${token}` }));
add('as a bearer token', await list({ Authorization: `Bearer ${token}` }));
add('as a bearer token with a proof', await list({ Authorization: `Bearer ${token}`, DPoP: proof(own, right()) }));
add('in the custom header', await list({ 'X-Workflow-Token': token }));
add('two proofs', await list(new Headers([['Authorization', `DPoP ${token}`], ['DPoP', proof(own, right())], ['DPoP', proof(own, right())]])));
for (const [what, change] of Object.entries({
  'another method': { htm: 'POST' }, 'a method in small letters': { htm: 'get' }, 'no method': { htm: undefined },
  'another path': { htu: `${gateway}/objects` }, 'another host': { htu: 'https://elsewhere.example.com/limits' },
  'another scheme': { htu: `${gateway.replace('http:', 'https:')}/limits` }, 'a path alone': { htu: '/limits' }, 'no address': { htu: undefined },
  'an hour old': { iat: now() - 3600 }, 'an hour ahead': { iat: now() + 3600 }, 'no time': { iat: undefined }, 'a time in words': { iat: `${now()}` },
  'no id': { jti: undefined }, 'an empty id': { jti: '' }, 'an id that is no text': { jti: 7 },
  'no hash of the token': { ath: undefined }, 'the hash of another token': { ath: hash('x') },
  'no nonce': { nonce: undefined }, 'an invented nonce': { nonce: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' }, 'a nonce that is no text': { nonce: 1 },
})) add(what, await dpop(proof(own, { ...right(), ...change })));
for (const [what, change] of Object.entries({
  'typ JWT': { typ: 'JWT' }, 'no typ': { typ: undefined }, 'alg none': { alg: 'none' }, 'an alg that does not fit': { alg: 'RS256' },
  'no key': { jwk: undefined }, 'the private key': { jwk: own.privateKey.export({ format: 'jwk' }) }, 'crit': { crit: ['exp'] },
  'a key by name': { jwk: undefined, kid: 'x' },
})) add(what, await dpop(proof(own, right(), change)));
add('another key', await dpop(proof(another, right())));
add('the right key in the header and another one that signs', await dpop(proof(another, right(), { jwk: publicJwk(own) })));
const whole = proof(own, right());
add('no signature', await dpop(`${whole.split('.').slice(0, 2).join('.')}.`));
add('a cut signature', await dpop(whole.slice(0, -3)));
add('not a proof', await dpop('x'));
const secret = { kty: 'oct', k: b64('x'.repeat(32)) };
const input = `${b64({ typ: 'dpop+jwt', alg: 'HS256', jwk: secret })}.${b64({ jti: randomUUID(), iat: now(), nonce, ...right() })}`;
add('HMAC', await dpop(`${input}.${createHmac('sha256', 'x'.repeat(32)).update(input).digest('base64url')}`));
add('a proof for a GET at a POST', await send('POST', '/request-upload', { Authorization: `DPoP ${token}`, DPoP: proof(own, right()) }, '{}'));
const after = (await dpop(proof(own, right()))).status;
console.log(JSON.stringify({ good, after, replayed: [replayed.status, replayed.body.code], hostile }));
