// Document 000 prints no whole client: these are its fragments, and what calls them.
const WebSocket = require('ws');

const ws = new WebSocket('ws://localhost:8080');

ws.on('open', () => {
  ws.send(JSON.stringify({
    type: 'subscribe',
    streamType: 'kline', // 'kline', 'depth', or 'ticker'
    symbols: ['btcusdt', 'ethusdt'], // Array of symbols
    options: { interval: '1m' } // Optional parameters
  }));
});

let klines = 0;

ws.on('message', (text) => {
  const message = JSON.parse(text);
  if (message.type === 'kline') {
    // "Binance WebSocket data format", as the document shows it
    const kline = message.data.data.k;
    console.log(`kline ${message.data.stream} ${kline.i} ${kline.o} ${kline.c}`);
    if (++klines === 6) unsubscribe();
  } else {
    console.log(message.type);
  }
});

function unsubscribe() {
  ws.send(JSON.stringify({
    type: 'unsubscribe',
    streamType: 'kline',
    symbols: ['btcusdt', 'ethusdt']
  }));
}
