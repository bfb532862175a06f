package proc

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Get asks an address for a page. A status other than 200 is an error; to is given the page's body and may be nil.
func Get(ctx context.Context, url string, to io.Writer) error {
	return request(ctx, http.MethodGet, url, to)
}

// Post tells an address something that is all in its URL.
func Post(ctx context.Context, url string) error { return request(ctx, http.MethodPost, url, nil) }

func request(ctx context.Context, method, url string, to io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
		return fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	if to == nil {
		return nil
	}
	_, err = io.Copy(to, response.Body)
	return err
}

// FreePorts gives ports that are free by TCP and UDP right now.
func FreePorts(address net.IP, n int) ([]uint16, error) {
	var ports []uint16
	for range n {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: address})
		if err != nil {
			return nil, fmt.Errorf("no free port: %w", err)
		}
		defer func() { _ = l.Close() }() // all at once, so that they differ
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: address, Port: port})
		if err != nil {
			return nil, fmt.Errorf("port %d is not free by UDP: %w", port, err)
		}
		defer func() { _ = u.Close() }()
		ports = append(ports, uint16(port))
	}
	return ports, nil
}
