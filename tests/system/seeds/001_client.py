import json
import websocket
import threading
import time

def on_message(ws, message):
    data = json.loads(message)
    
    if data.get('type') == 'kline':
        kline = data['data']['k']
        print(f"{data['data']['s']}: Giá mở {kline['o']}, Giá đóng {kline['c']}")
    elif data.get('type') == 'connection':
        print(f"Kết nối thành công, Client ID: {data['clientId']}")
        # Đăng ký sau khi kết nối thành công
        subscribe_kline(ws)
    else:
        print(f"Nhận dữ liệu: {data}")

def on_error(ws, error):
    print(f"Lỗi: {error}")

def on_close(ws, close_status_code, close_msg):
    print("Kết nối đóng")

def on_open(ws):
    print("Kết nối đã mở")

def subscribe_kline(ws):
    subscription = {
        "type": "subscribe",
        "streamType": "kline",
        "symbols": ["btcusdt", "ethusdt"],
        "options": {
            "interval": "1m"
        }
    }
    ws.send(json.dumps(subscription))
    print("Đã gửi yêu cầu đăng ký")

def get_historical_data(ws):
    request = {
        "type": "getHistoricalKlines",
        "symbol": "btcusdt",
        "interval": "1m",
        "limit": 500
    }
    ws.send(json.dumps(request))
    print("Đã gửi yêu cầu lấy dữ liệu lịch sử")

if __name__ == "__main__":
    # Thiết lập WebSocket
    websocket.enableTrace(False)
    ws = websocket.WebSocketApp("ws://server-address:8080",
                              on_open=on_open,
                              on_message=on_message,
                              on_error=on_error,
                              on_close=on_close)

    # Chạy WebSocket trong một thread riêng
    wst = threading.Thread(target=ws.run_forever)
    wst.daemon = True
    wst.start()
    
    # Cho phép kết nối thiết lập
    time.sleep(2)
    
    # Giữ chương trình chạy
    try:
        while True:
            cmd = input("Nhập lệnh (h: lịch sử, q: thoát): ")
            if cmd == 'h':
                get_historical_data(ws)
            elif cmd == 'q':
                break
            time.sleep(1)
    except KeyboardInterrupt:
        pass
    
    # Đóng kết nối
    ws.close()
