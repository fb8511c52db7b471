// Document 004 prints one line of a client; the rest is what its sections describe.
const WebSocket = require('ws');

const ws = new WebSocket("ws://localhost:8080");

ws.on('open', () => {
  for (const symbol of ['BTC', 'ETH', 'SOL']) ws.send(JSON.stringify({ type: 'SUBSCRIBE', symbol }));
  ws.send(JSON.stringify({ type: 'PING' }));
});

let updates = 0;

ws.on('message', (text) => {
  const message = JSON.parse(text);
  if (message.type === 'PRICE_UPDATE') {
    console.log('price ' + JSON.stringify(message.data));
    if (++updates === 6) ws.send(JSON.stringify({ type: 'UNSUBSCRIBE', symbol: 'BTC' }));
  } else {
    console.log(message.type, message.symbol);
  }
});
