package loss

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// encoder is a live encoder: a process that encodes one frame for each command.
type encoder struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	words   bytes.Buffer
}

func startEncoder(ctx context.Context, native, codec string) (*encoder, error) {
	e := &encoder{command: exec.CommandContext(ctx, filepath.Join(native, "encoder"), codec, strconv.Itoa(width), strconv.Itoa(height), strconv.Itoa(rate), strconv.Itoa(kilobits))}
	e.command.Stderr = &e.words
	var err error
	if e.in, err = e.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := e.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	e.out = bufio.NewReader(out)
	if err := e.command.Start(); err != nil {
		return nil, fmt.Errorf("the encoder: %w (make bench builds it)", err)
	}
	return e, nil
}

// next encodes the next frame.
func (e *encoder) next(key bool) (unit []byte, err error) {
	command := byte('f')
	if key {
		command = 'k'
	}
	if _, err := e.in.Write([]byte{command}); err != nil {
		return nil, e.failed(err)
	}
	var head [5]byte
	if _, err := io.ReadFull(e.out, head[:]); err != nil {
		return nil, e.failed(err)
	}
	unit = make([]byte, binary.LittleEndian.Uint32(head[:]))
	if _, err := io.ReadFull(e.out, unit); err != nil {
		return nil, e.failed(err)
	}
	if key && head[4] != 1 {
		return nil, errors.New("the encoder gave no key frame when asked for one")
	}
	return unit, nil
}

func (e *encoder) failed(err error) error {
	return fmt.Errorf("the encoder: %w: %s", err, strings.TrimSpace(e.words.String()))
}

// close ends the encoder.
func (e *encoder) close() error {
	if err := errors.Join(e.in.Close(), e.command.Wait()); err != nil {
		return e.failed(err)
	}
	return nil
}

// picture is what a decoder made of a unit.
type picture struct {
	width, height uint32
	sum           [sha256.Size]byte
}

// decode gives the pictures of a stream that lost nothing, by another program than the edge's decoder.
func decode(ctx context.Context, native, codec string, units [][]byte) ([]picture, error) {
	var in, words bytes.Buffer
	for _, u := range units {
		in.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(u))))
		in.Write(u)
	}
	command := exec.CommandContext(ctx, filepath.Join(native, "reference"), codec)
	command.Stdin, command.Stderr = &in, &words
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("the decoder to compare with: %w (make bench builds it)", err)
	}
	pictures, err := readPictures(bufio.NewReaderSize(out, 1<<20))
	if failure := command.Wait(); failure != nil {
		return nil, fmt.Errorf("the decoder to compare with: %w: %s", failure, strings.TrimSpace(words.String()))
	}
	if err == nil && len(pictures) != len(units) {
		err = fmt.Errorf("the decoder to compare with gave %d pictures for %d units", len(pictures), len(units))
	}
	return pictures, err
}

func readPictures(r io.Reader) ([]picture, error) {
	var pictures []picture
	var rgb []byte
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) {
			return pictures, nil
		} else if err != nil {
			return nil, err
		}
		p := picture{width: binary.LittleEndian.Uint32(head[:]), height: binary.LittleEndian.Uint32(head[4:])}
		if n := int(p.width) * int(p.height) * 3; n != len(rgb) {
			rgb = make([]byte, n)
		}
		if _, err := io.ReadFull(r, rgb); err != nil {
			return nil, err
		}
		p.sum = sha256.Sum256(rgb)
		pictures = append(pictures, p)
	}
}
