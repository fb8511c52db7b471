const WebSocket = require('ws');

// Kết nối đến server
const ws = new WebSocket('ws://server-address:8080');

// Xử lý sự kiện kết nối
ws.on('open', () => {
  console.log('Kết nối thành công');
  
  // Đăng ký kline cho BTC và ETH với khoảng thời gian 1m
  ws.send(JSON.stringify({
    type: 'subscribe',
    streamType: 'kline',
    symbols: ['btcusdt', 'ethusdt'],
    options: {
      interval: '1m'
    }
  }));
  
  // Hoặc đăng ký theo định dạng raw
  ws.send(JSON.stringify({
    type: 'subscribe',
    rawStreams: ['btcusdt@kline_1m', 'ethusdt@kline_1m']
  }));
});

// Xử lý dữ liệu nhận được
ws.on('message', (data) => {
  const message = JSON.parse(data);
  
  switch (message.type) {
    case 'connection':
      console.log('Client ID:', message.clientId);
      break;
      
    case 'subscribed':
      console.log('Đăng ký thành công:', message);
      break;
      
    case 'kline':
      const kline = message.data.k;
      console.log(`${message.data.s}: Giá mở ${kline.o}, Giá đóng ${kline.c}, Cao ${kline.h}, Thấp ${kline.l}`);
      break;
      
    case 'historicalKlines':
      console.log(`Nhận ${message.klines.length} nến lịch sử cho ${message.symbol}`);
      // Xử lý dữ liệu lịch sử
      break;
      
    default:
      if (message.stream && message.stream.includes('@kline_')) {
        const kline = message.data.k;
        console.log(`[Raw] ${message.data.s}: Giá mở ${kline.o}, Giá đóng ${kline.c}`);
      } else {
        console.log('Nhận dữ liệu:', message);
      }
  }
});

// Xử lý lỗi và đóng kết nối
ws.on('error', (error) => {
  console.error('Lỗi kết nối:', error);
});

ws.on('close', () => {
  console.log('Kết nối đã đóng');
});

// Hàm hủy đăng ký
function unsubscribe() {
  ws.send(JSON.stringify({
    type: 'unsubscribe',
    streamType: 'kline',
    symbols: ['btcusdt', 'ethusdt']
  }));
}

// Hàm lấy dữ liệu lịch sử
function getHistoricalData() {
  ws.send(JSON.stringify({
    type: 'getHistoricalKlines',
    symbol: 'btcusdt',
    interval: '1m',
    limit: 500
  }));
}
